"""Words that decide what surrounds a name: is "Paris Hilton" a longer name, is "Lyon France" one, is it a typo?"""

from __future__ import annotations

ARTICLES = frozenset("the a an".split())

STOPWORDS = frozenset(
    """
    a an the i you he she it we they me him her us them my your his its our their this that these those who whom
    whose which what when where why how there here is am are was were be been being do does did done has have had
    having can could will would shall should may might must ought not no nor neither either both and or but if then
    else than so as at by for from in into of off on onto out over to toward towards up upon with within without
    about above across after again against along also although always among amid around because before behind below
    beneath beside besides between beyond down during each even ever every except few first following formerly
    further however indeed instead just last later least less like likely many maybe more most much near nearby
    never nevertheless next nonetheless now nowadays often once one only other others per perhaps possibly
    presumably previously probably rather really same second several since some sometimes soon still such though
    through throughout thus therefore hence till today together too under unlike until unless usually very via
    versus vs was well whereas whether while yes yet currently officially originally today's according actually
    certainly definitely clearly obviously respectively again ago alone already any all away back because de la le
    les el los las der die das den des du di da del van von und oder et ou y o e i est es ist sont era fue war
    sondern sino mais pero aber pas nicht ne se en em na no
    """.split()
)
"""Words that aren't names by themselves: "the US" is one, "us" is not."""

VERBS = frozenset(
    """
    became become began belong built came can comes fell flew fought found gave get give go goes got grew has have
    held hit host kept knew lay lead led left let lie lies lost made make mean means met paid put ran rose said sang
    sank saw sent set shot sit sits sold spent stand stands stood sung take taken took taught told went win won wore
    write writes written wrote drew drove ate beat broke brought caught chose did forgot hid hurt rode shook slept
    spoke stole struck swam swore threw understood woke remain remains serve serves act work live lives ruled
    crossed answer answers capital city town country final correct right wrong true false incorrect prize award
    based born north south east west northern southern eastern western time region area plus minus equals aka etc ie
    eg ok okay yeah sure please thanks thank sorry hope note source explanation reason context question text passage
    too instead anymore altogether itself himself herself themselves itself there half quite almost nearly roughly
    approximately long tall high deep wide old big small large largest biggest million billion percent per mind
    course
    """.split()
)
"""Words that may follow a name in the same clause without being a part of it, beside those ending in -ed, -ly, -s."""

NOUNS = frozenset(
    """
    motor motors group holdings airline computer electric pictures records labs
    baby man woman guy dude mate beach plant power nuclear civilization civilisation people expedition team group
    family government era age period theory program programme project mission ship metropolitan metro economy
    population parliament administration police military army navy regime market language currency website movie
    film book novel system model type version edition style food wine culture history map picture photo image story
    article page website site council mayor office offices building buildings house houses residence office
    headquarters center centre downtown suburb territory coast coastline side border area district quarter district
    climate weather summer winter spring time date species animal plant tree bird fish whale elephant desert
    painting sculpture music opera play poem quote saying proverb event ceremony crisis disaster accident incident
    attack war battle conference summit meeting election vote citizen citizens resident residents native natives
    tribe nation republic empire kingdom colony civil public national international local global modern ancient
    medieval contemporary famous popular major minor main central final sole
    """.split()
)
"""Common nouns and adjectives that may follow a name and leave it what it is: the Inca civilization."""

PARTICIPLES = frozenset(
    """
    being becoming having hosting serving remaining including making taking according following regarding during
    having lying sitting standing going coming getting using holding acting working building winning leading ruling
    """.split()
)

OF_HEADS = frozenset(
    """
    treaty university battle siege bishop archbishop duke duchess mayor king queen prince princess plaster gulf bay
    bank lord earl count house tower council declaration church temple people citizens history map fall peace pact
    edict diet congress act statue museum school institute academy club port bridge wall mayor governor sack commune
    massacre merchant president emperor
    """.split()
)
"""What is of a place, and not the place: the Treaty of Paris."""

NAMESAKES = frozenset({("john", "quincy", "adams")})
"""Names that differ from another person's by a middle name alone."""

NAME_TAILS = frozenset(
    """
    hilton university college county state province bay street avenue road bridge airport airlines airways air fc
    united rovers hotspur hospital museum memorial monument tower castle park heights hills valley springs falls
    junction jr junior sr ii iii iv hotel club stadium district island islands river lake sea ocean gulf strait
    desert mountain mountains peninsula coast empire kingdom territory territories powers clinton williams jones
    davis roberts peters stevens adams lewis harris edwards phillips rogers simmons jackson olympics games lions
    lakers bulls eagles bears giants jets angels kings heats rangers tigers protocol agreement accord accords treaty
    """.split()
)
"""Words that make a longer name of the one before: Jordan River, Lincoln Memorial."""

FEATURES = frozenset(
    """
    river lake sea ocean gulf strait desert mountain mountains island islands peninsula falls empire museum
    university college trench reef rainforest canal volcano mount company corporation inc incorporated ltd limited
    co corp llc gmbh plc dynasty kingdom republic state county province village town district
    """.split()
)
"""Kinds of things; the name without them says the same: the Pacific Ocean is the Pacific."""

NATURAL = frozenset("river lake sea ocean gulf strait desert mountain mountains island islands falls".split())
"""Features that the answers may be: the Mississippi River beside the Amazon, but not Jordan's beside Israel."""

EPONYMOUS = frozenset(
    """
    memorial monument tower bridge square airport club wall palace castle avenue street treaty war revolution
    doctrine stadium school hospital foundation institute library theatre theater station plaza center centre award
    medal
    """.split()
)
"""Kinds of things that are called after somebody else: the Lincoln Memorial is not Lincoln."""

POLITIES = frozenset(
    "university city republic kingdom state isle commonwealth principality sultanate emirate union empire duchy".split()
)
FORMS_OF_STATE = frozenset(
    """
    federal democratic peoples people islamic socialist soviet united grand plurinational bolivarian arab federated
    federative cooperative independent oriental
    """.split()
)
"""What stands before the name of a country in its full style: the Federal Republic of Germany."""

ADJECTIVES = frozenset(
    "red black white yellow green blue dead great long big real high low grand royal rolling".split()
)
"""Words that, before a kind of thing, name another thing: the Red Sea."""

NAME_HEADS = frozenset(
    """
    new south north east west baja equatorial papua san santa sao saint port fort mount lake cape great greater
    upper lower nova inner outer little old
    """.split()
)
"""Words that make a longer name of the one behind: New Cairo, South Sudan, Lake Victoria."""

HEADED = frozenset(
    {
        ("northern", "ireland"), ("northern", "cyprus"), ("inner", "mongolia"), ("western", "sahara"),
        ("american", "samoa"), ("british", "columbia"), ("british", "honduras"), ("british", "guiana"),
        ("french", "guiana"), ("french", "guinea"), ("spanish", "guinea"), ("portuguese", "guinea"),
        ("dutch", "guiana"), ("spanish", "sahara"), ("northern", "macedonia"), ("central", "america"),
    }
)  # fmt: skip

TITLES = frozenset(
    """
    mr mrs ms miss madame madam monsieur herr frau comrade dr doctor prof professor sir dame lord lady king
    queen emperor empress tsar czar kaiser shah sheikh baron baroness countess duke duchess chief prince
    princess president chancellor senator general captain colonel major admiral saint pope minister premier
    chairman secretary governor rev reverend father mother sister brother judge justice physicist scientist
    author writer poet painter artist composer philosopher mathematician inventor explorer
    """.split()
)

FIRST_NAMES = frozenset(
    """
    aaron abdul abel abigail abraham adam adrian agnes ahmed aisha akira alan albert alberto alejandro alex
    alexander alexandra alfred alice alvin amanda amelia amelie amy ana andrea andrew angela angus anita ann
    anna anne anthony anton antonio archibald arnold arthur arturo ashley austin axel barack barbara barry
    beatrice becky bella ben benjamin bernard bernardo beth betty bianca bill blake bob bobby bonnie boris brad
    brandon brenda brett brian bruce bryan byron caleb calvin cameron camille carl carla carlos carol caroline
    catherine cecil cecilia cedric celine chad charles charlotte chelsea chris christian christina christine
    christopher chuck cindy claire clara clarence clark claude clint clyde colin conrad constance corey courtney
    craig curtis cynthia damian dan daniel danny darren dave david dean debbie deborah delia denise dennis derek
    desmond diana diego dmitri dolores dominic donald donna doris dorothy douglas duncan dwight dylan eddie
    edgar edith edmund eduardo edward edwin eileen elaine eleanor elena eli elias elijah elisabeth eliza
    elizabeth ellen elliot elon elsa elvis emil emilio emily emma enrique eric erica erik erin ernest ernesto
    esther ethan ethel eugene eva evelyn felix fernando fiona florence francis francisco frank franklin fred
    freddie frederick friedrich fritz gabriel gary gavin geoffrey george gerald gerard gertrude gilbert gina
    giovanni glenn gloria grace graham greg greta guillermo gus gustav guy hannah hans harold harriet harry
    harvey hassan heather hector heinrich helen henri henry herbert hermann hillary horace howard hubert hugh
    hugo humphrey ian ibrahim ida igor indira ingrid irene irving isaac isabel isabella ivan jack jackie jacob
    jacques jaime jake james jamie jan jane janet jared jasmine jason javier jean jeff jeffrey jenna jennifer
    jeremy jerome jerry jesse jessica jill jim jimmy joan joaquin jody joe joel johann johannes john johnny jon
    jonas jonathan jorge jose josef joseph josephine joshua joyce juan juanita judith julia julian julie julius
    justin karen karin karl kate katherine kathleen kathryn katie keanu keira keith kelly ken kenneth kevin kim
    kirk klaus kristen kurt kyle lana lance larry lars laura laurence lawrence lee lena lenny leo leon leonard
    leonardo leopold leroy leslie levi lewis liam linda lionel lisa lloyd logan lois lorenzo lou louis louisa
    louise lucas lucia lucy ludwig luis luke luther lydia lyndon mabel madeleine malcolm mandy manfred manuel
    marc marcel marcia marco marcus margaret margot maria marianne marie marilyn mario marion mark marlon
    marshall martha martin marvin mary mason matilda matt matthew maurice max melania melissa meryl michael
    michelle miguel mike miranda mitch mohamed mohammed mohandas monica muhammad nadia nancy napoleon natalie
    nathan ned neil nell nelson nicholas nick nicole niels nikita nikola nina noah noam nora norma norman oleg
    olga oliver olivia olivier omar orson oscar oswald otis otto owen pablo pamela pascal pat patricia patrick
    paul paula pauline paulo pedro peggy penelope percy pete peter phil philip phyllis pierre quentin quincy
    rachel rafael raj ralph ramon randy raul ray raymond rebecca reggie rene rex rhonda ricardo richard ricky
    rita rob robert roberta rod roderick rodney roger roland ron ronald ronnie rosa rosalind rose rosemary ross
    roxanne roy ruby rudolf rudolph rufus rupert russell ruth ryan sabrina saddam sally sam samuel sandra sara
    sarah scott sean sebastian selena serena sergei seth shannon sharon sheila shirley sidney sigmund silvia
    simon simone sofia sophia sophie spencer stan stanley stefan stella stephen steve steven stevie stewart
    stuart sue susan suzanne sven sylvia tammy tara ted teddy terence teresa terry tess thelma theo theodore
    theresa thomas tiffany tim timothy tina todd tom tommy tony tracy trevor tristan troy tyler ulrich ursula
    val valentina valerie vanessa vera vernon vicky victor victoria vince vincent viola virginia vivian vivien
    vladimir wallace walter wanda warren wayne wendy werner wesley whitney wilbur wilhelm willem william willie
    wilma winnie winston wolfgang woodrow woody xavier yuri yvonne zachary zoe
    """.split()
)

PLACES = frozenset(
    """
    afghanistan albania algeria andorra angola argentina armenia australia austria azerbaijan bahamas bahrain
    bangladesh barbados belarus belgium belize benin bhutan bolivia bosnia botswana brazil brunei bulgaria burundi
    cambodia cameroon canada chad chile china colombia comoros congo croatia cuba cyprus czechia denmark djibouti
    dominica ecuador egypt england eritrea estonia eswatini ethiopia fiji finland france gabon gambia georgia
    germany ghana greece grenada guatemala guinea guyana haiti holland honduras hungary iceland india indonesia iran
    iraq ireland israel italy jamaica japan jordan kazakhstan kenya kiribati korea kosovo kuwait kyrgyzstan laos
    latvia lebanon lesotho liberia libya liechtenstein lithuania luxembourg madagascar malawi malaysia maldives mali
    malta mauritania mauritius mexico micronesia moldova monaco mongolia montenegro morocco mozambique myanmar
    namibia nauru nepal netherlands nicaragua niger nigeria norway oman pakistan palau panama paraguay peru
    philippines poland portugal qatar romania russia rwanda samoa scotland senegal serbia seychelles singapore
    slovakia slovenia somalia spain sudan suriname sweden switzerland syria taiwan tajikistan tanzania thailand togo
    tonga tunisia turkey turkmenistan tuvalu uganda ukraine uruguay uzbekistan vanuatu venezuela vietnam wales yemen
    zambia zimbabwe britain usa uk america europe asia africa oceania alabama alaska arizona arkansas california
    carolina colorado connecticut delaware florida hawaii idaho illinois indiana iowa kansas kentucky louisiana
    maine maryland massachusetts michigan minnesota mississippi missouri montana nebraska nevada ohio oklahoma
    oregon pennsylvania tennessee texas utah vermont virginia washington wisconsin wyoming ontario quebec alberta
    manitoba
    """.split()
)
"""Countries, continents and states: may follow a place's name, and a river or a city may be called after them."""

CITIES = frozenset(
    """
    ababa abuja accra addis albany algiers amman amsterdam ankara annapolis antananarivo apia ashgabat asmara
    astana asuncion athens atlanta auckland augusta austin baghdad baku baltimore bamako bangkok bangui banjul
    barcelona basel basseterre beijing beirut belfast belgrade berlin bern birmingham bishkek bismarck bissau
    bogota boise boston brasilia bratislava brazzaville bridgetown brighton brisbane bristol brussels bucharest
    budapest bujumbura busan cairns cairo calgary cali canberra caracas cardiff casablanca castries charlotte
    chelsea chennai cheyenne chicago chisinau cleveland cologne colombo columbus conakry copenhagen cordoba cork
    cotonou cusco dakar dallas damascus darwin delhi denver detroit dhaka dodoma doha dresden dubai dublin
    dushanbe edinburgh florence frankfort frankfurt freetown funafuti gaborone galway geneva genoa georgetown
    gitega glasgow graz guayaquil hamburg hanoi harare harrisburg hartford havana helena helsinki hobart honiara
    houston indianapolis islamabad istanbul jackson jakarta jerusalem johannesburg juba juneau kabul kampala
    karachi kathmandu khartoum kiev kigali kingston kingstown kinshasa kolkata krakow kyiv kyoto lagos lahore
    lansing lausanne libreville lilongwe lima lincoln linz lisbon liverpool ljubljana lome london luanda lusaka
    lyon madison madrid majuro malabo male managua manama manchester manila maputo marseille maseru mbabane
    medellin melbourne memphis mendoza miami milan minsk mogadishu mombasa monrovia montevideo montgomery
    montpelier montreal moroni moscow mumbai munich muscat nagoya nairobi naples nashville nassau niamey nice
    nicosia nouakchott odessa olympia omaha orlando osaka oslo ottawa oxford palikir paramaribo paris perth
    philadelphia phoenix pierre plymouth podgorica portland prague praia pretoria pune pyongyang quito rabat
    raleigh rawalpindi reykjavik riga riyadh rome rosario roseau rotterdam sacramento salzburg santiago sarajevo
    seattle seoul seville shanghai skopje sofia stockholm sucre surat suva sydney taipei tallinn tarawa tashkent
    tbilisi tegucigalpa tehran thimphu tirana tokyo topeka toronto trenton tripoli tulsa tunis turin vaduz
    valencia valletta vancouver venice vienna vientiane vilnius warsaw wellington windhoek wollongong
    yamoussoukro yaounde yerevan zagreb zurich
    """.split()
)

CITY_NAMESAKES = frozenset(
    "mexico kansas guatemala panama kuwait oklahoma quebec vatican jersey belize iowa salt kings".split()
)
"""Names that another place makes of by adding City."""

COMMON = (
    STOPWORDS
    | VERBS
    | frozenset(
        """
    pairs parks parts party lions stone those there their where about world place people years great house large
    water light right might night sight eight never seven three early dearly later heavy heart heard earth worth
    white black green brown small still while whole every after other under above could would should first third
    fifth sixth ninth peace piece point power paper money month march april august monday friday sunday europe union
    state states unity mother father brother sister chief china chine moral metal medal model novel naval royal
    loyal total final finals angel angle court count country county course cause since sense science series serious
    series century central
    """.split()
    )
)
"""Words that are never a misspelt name."""

QUALIFIERS = frozenset(
    """
    administrative judicial judiciary legislative official officially executive constitutional royal seat of
    government capital de facto jure largest city town country state province region current former formerly
    disputed claimed film movie novel book song album band planet element god goddess river island singer actor
    politician author born died circa approximately approx about now since until the a an and in commercial economic
    parliament only
    """.split()
)
"""What parentheses in an answer field say about it without naming it otherwise."""

HONORIFICS = ("dr", "doctor", "mr", "mrs", "ms", "sir", "president", "prof", "professor", "rev", "reverend", "general")
SUFFIXES = frozenset("jr sr junior senior phd md esq".split())
"""What follows a person's name and may be left out."""

PARTICLES = frozenset("von van de der den da di du del la le bin ibn al el ter ten dos das".split())
"""Little words inside surnames."""

NICKNAMES = {
    "united states": ("us", "usa", "united states of america", "america"),
    "united kingdom": ("uk", "great britain", "britain"),
    "soviet union": ("ussr",),
    "united arab emirates": ("uae",),
    "netherlands": ("holland",),
    "new york city": ("new york", "nyc"),
    "czech republic": ("czechia",),
    "saint petersburg": ("petersburg",),
}
"""Other names that everybody uses."""

GENERIC = frozenset(
    """
    it this that the a an he she they i we answer answers capital city country correct right real actual true current
    new one but yet however actually really in fact reality truth and so here there name its his her place person year
    text passage context says say said states according to think believe of is was no not , ( " ' - : then also could
    would might may must maybe perhaps probably or now today final
    """.split()
)
"""Words for the answer, and for nothing else in particular: a sentence on them is one on the answer."""
