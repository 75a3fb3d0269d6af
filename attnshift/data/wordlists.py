"""English words that say what another word is: heuristics, all in one place to be read and changed."""

from __future__ import annotations

PARTICLES = frozenset("of the de da del della di do dos du la le las los van von der den ten ter al el bin ibn".split())
"""Small words inside names: Bank of England, Ludwig van Beethoven."""

FUNCTION_WORDS = frozenset(
    """a about after all also although an and any are as at be because been before being between both but
    by can complete could did do does during each every few fill find for from give has have he her here
    his how i if in into is it its list made many may me more most much must my name no not of on one or
    our please say several she should since so some state such tell that the their them then there these
    they this those through to two under until up was we were what when where whether which while who
    whom whose why will with would write you your""".split()
)
"""Words that begin sentences without naming anything."""

YES_OR_NO = frozenset(
    "yes no true false neither both none nothing unknown unanswerable yeah nope correct incorrect".split()
)
"""Answers that name nothing."""

NOT_ONE_THING = frozenset("and or with by because that which who while when as than but if then so".split())
"""Words that make an answer a list or a clause."""

PREPOSITIONS = frozenset(
    """in on at to into onto inside under over above below behind beside near between among from by for
    with within without during through across along around after before since until about against
    towards via""".split()
)

DETERMINERS = frozenset("a an the his her their its my our your this that these those some".split())

MALE_TITLES = frozenset("mr sir lord king prince duke count baron uncle father brother monsieur herr senor".split())
FEMALE_TITLES = frozenset(
    "mrs ms miss lady dame queen princess duchess countess baroness aunt mother sister madame frau senora".split()
)
OTHER_TITLES = frozenset(
    """dr prof professor president captain major colonel general admiral judge justice senator governor
    mayor saint st pope emperor bishop reverend rev minister chancellor coach officer sergeant
    lieutenant commander secretary""".split()
)
TITLES = MALE_TITLES | FEMALE_TITLES | OTHER_TITLES

MALE_PRONOUNS = frozenset("he him his himself".split())
FEMALE_PRONOUNS = frozenset("she her hers herself".split())

MONTHS = frozenset("january february march april may june july august september october november december".split())
WEEKDAYS = frozenset("monday tuesday wednesday thursday friday saturday sunday".split())

NUMBER_WORDS = {
    word: number
    for number, word in enumerate(
        """zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen
    sixteen seventeen eighteen nineteen twenty""".split()
    )
} | {"thirty": 30, "forty": 40, "fifty": 50, "sixty": 60, "seventy": 70, "eighty": 80, "ninety": 90}

ARITHMETIC = frozenset(
    """total totals altogether sum average mean median remaining remain remains left more less fewer most
    least than difference twice double doubled doubles half halved thrice triple times percent
    percentage third quarter each per every increase increased decrease decreased rose fell grew dropped
    plus minus highest lowest largest smallest fastest slowest oldest youngest cheapest first last above
    below extra another combined older younger faster""".split()
)
"""Words that relate a number to others: a substitute would contradict them."""

RELATIVE_DATES = frozenset(
    """later earlier before after ago since until till previous previously following next old aged age
    years months weeks days decade decades century anniversary during between""".split()
)
"""Words that relate a date to others."""

ORGANISATIONS = frozenset(
    """university college school institute academy company corporation corp inc ltd llc plc gmbh ag bank
    party club association society foundation committee commission council ministry department agency
    bureau office union league federation museum library theatre theater orchestra church guild
    ropeworks workshop studio studios press times news airlines airways railways motors group brothers
    united hospital laboratory laboratories organisation organization""".split()
)
"""Words that organisations have in their names."""

ORGANISATION_QUESTIONS = frozenset(
    """company organisation organization club team band university college school institute party bank
    agency newspaper publisher airline firm orchestra museum guild""".split()
)
"""Nouns by which a question asks for an organisation."""

PLACE_QUESTIONS = {
    **dict.fromkeys("city town village capital municipality".split(), "city"),
    **dict.fromkeys("country nation kingdom".split(), "country"),
    **dict.fromkeys("state province region county district".split(), "region"),
    **{noun: noun for noun in "river lake sea ocean mountain island continent planet street valley desert".split()},
}
"""Nouns by which a question asks for a place, and what sort of place that is."""

PERSON_QUESTIONS = frozenset(
    """director composer inventor scientist philosopher detective captain founder leader mayor judge minister
    chancellor senator governor explorer musician novelist playwright pilot architect botanist poet person man woman
    boy girl author writer actor actress singer painter king queen president artist player""".split()
)
"""Nouns by which a question asks for a person."""

GENERIC = (
    frozenset(
        """mount mountain lake river ocean island islands street road avenue bridge tower castle palace square
    city town village country state county north south east west northern southern eastern western saint
    great upper lower""".split()
    )
    | ORGANISATIONS
    | DETERMINERS
    | PARTICLES
)
"""Words that may stand in a passage beside a name which contains them, without meaning it."""

ALSO_ORDINARY = frozenset(
    """turkey china may march will bill mark rose us it who chad bath nice cork split mobile polish reading
    august jordan orange jack frank grace hope joy faith pat sue rob grant chase hunter mason cook baker
    smith young brown green white black grey gray long short rich king bishop page wood stone rice lord
    guinea japan drew gene dean rusty sandy norman georgia victoria virginia dale glen cliff lance miles
    dick peter earl duke""".split()
)
"""Words that mean something else in lower case than as a name."""
