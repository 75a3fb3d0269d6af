"""How a text asserts, denies, contrasts or quotes an answer: the ways, each a named pattern.

A pattern is matched against a segment written with placeholders: T the mention in question, S others of the same answer,
O those of the other answer (see `stance`). A space stands before and behind every word and mark. Patterns begin with one, or
with a placeholder, which a search finds five times as fast as the boundary of a word.
"""

from __future__ import annotations

from dataclasses import dataclass

STRESSED = 8
ASSERTED = 7
QUOTED = 6
DOUBTED = 5
"""said with stress, but of something else"""
RANKED = 4
"""called the largest, oldest, … of something, which may be what was asked for or not"""
SITUATED = 3
"""said to be somewhere, or of a kind"""
ASIDE = 2
LEAST = 1
"""no more than named in a sentence on the other answer"""
DENIED = 0

_BREAK = r"but|because|since|although|though|while|whereas|however|sondern|sino|mais|pero|aber|yet|so|therefore|thus"
W = rf"(?:(?!(?:{_BREAK})\b)[^\WTOS]+ )"
"""A word of the same clause."""
Q = r"(?:[\"'(:] )*"
"""Marks that may open a quotation."""
NOT = r"(?:not|never|neither|nor|no longer|hardly|nicht|kein|keine|keinen|pas|jamais|ni|не|niet|ikke|nao)"
BE = r"(?:is|are|was|were|be|been|being|has been|had been|would be|became|becomes)"
VERB = r"(?:is|are|was|were|has|have|had|does|do|did|can|could|would|should|will|may|might|must)"
SOURCE = (
    r"(?:text|passage|context|article|document|paragraph|story|excerpt|author|question|claim|statement|source|prompt"
    r"|input|premise|information|snippet|report|user)"
)
SAYS = (
    r"(?:say|says|said|state|states|stated|claim|claims|claimed|mention|mentions|mentioned|suggest|suggests|suggested"
    r"|give|gives|indicate|indicates|write|writes|read|reads|imply|implies|assert|asserts|name|names|refer|refers|insist|insists|report|reports|tell|tells|maintain|maintains|argue|argues|present|presents"
    r"|describe|describes|about|of)"
)
FALSE = (
    r"(?:wrong|incorrect|false|untrue|mistaken|outdated|fictional|fictitious|fiction|inaccurate|obsolete|not true"
    r"|not correct|not right|not accurate|not supported|unsupported|unfounded|not based|not the case|(?:a |an )?(?:common |popular |frequent )?(?:mistake|misconception|myth|error))"
)
BELIEVE = (
    r"(?:think|thinks|thought|believe|believes|believed|assume|assumes|assumed|guess|guessed|expect|expected|imagine"
    r"|suppose|supposed|mistake|mistaken|confuse|confused|say|answer|call|consider|considered|attributed|associated|(?<=people )(?:place|put|locate|date|name|cite|credit|attribute))"
)
REPUTED = (
    r"(?:credited|thought|believed|considered|regarded|assumed|said|known|associated|attributed|recogni[sz]ed|cited|seen"
    r"|viewed|mistaken|remembered|taken|mentioned|named|listed|given|linked|connected)"
)
ANYONE = r"(?:many|most|some|people|everyone|everybody|others|they|you|one|often|commonly|widely|usually|popularly|typically|frequently|generally|traditionally)"
ADVERBS = r"(?:\w+ly |also |just |still |now |indeed |actually |rather )*"
OTHER_KIND = (
    r"an?|one of|the (?:\w+ )?(?:second|third|other|next)|its|his|her|their"
    r"|in(?! fact| reality| truth)|on|at|near|not far|part of|bigger|larger|smaller|older|longer|known|famous|home|located|situated|only|much"
)
"""What a name is said to be where it isn't called the answer: of a kind, somewhere, somebody's."""


@dataclass(frozen=True)
class Rule:
    """One pattern and the strength that it leaves."""

    name: str
    strength: int
    pattern: str
    beside: bool = False
    """whether it holds beside an assertion of the other answer alone"""


RULES: tuple[Rule, ...] = (
    # Denied
    Rule("negated before", DENIED, rf" {NOT} (?!only\b|just\b|merely\b|simply\b)(?:{W}|[\"'(] ){{0,7}}T"),
    Rule("negated in a row", DENIED, rf" {NOT} {W}{{0,6}}[OS] (?:, )?(?:or|nor) {W}{{0,2}}T"),
    Rule("no", DENIED, rf" no (?:evidence|indication|sign|proof|mention|reason|way) [^.?!;,TOS]*T| no (?!(?:longer|it|that|this|the|i|he|she|they)\b){W}{{1,6}}T| no (?:the )?T| (?:nobody|no one) {W}{{1,4}}T"),
    Rule("false that", DENIED, rf" {FALSE} (?:that|to \w+) {Q}{W}{{0,5}}T"),
    Rule("moved away", DENIED, rf" (?:capital|government|seat|parliament|it) {W}{{0,3}}(?:moved|relocated|transferred|shifted|left) (?:away )?(?:from )?(?:the )?T"),
    Rule("no es", DENIED, r" no (?:es|fue|era|esta|son) (?:en )?T"),
    Rule("negated behind", DENIED, rf"T (?:\" )?{VERB} (?:\w+ly |ever |also |still |itself ){{0,2}}(?:not|never|no longer)\b(?! only| just| merely)"),
    Rule("never behind", DENIED, r"T (?:never(?! (?:lost|ceased|stopped|left|gave))|no longer|cannot)\b"),
    Rule("isn't", DENIED, rf"T (?:\" )?(?:{BE} )?(?:\w+ly |simply |also ){{0,2}}{FALSE}\b"),
    Rule("wrongly", DENIED, rf" (?:wrongly|mistakenly|incorrectly|erroneously|falsely|wrong about|myth that|misconception that|mistake to \w+|wrong to \w+|(?:mistaken|wrong|incorrect|errs) in \w+ing) {Q}(?:{W}|[\"'] ){{0,6}}T"),
    Rule("rather than", DENIED, rf" (?:rather than|instead of|as opposed to|in place of|in lieu of|(?:any|every)(?:thing|where|one|body) but|unlike|except|except for|excluding|apart from|contrary to|than) {Q}{W}{{0,4}}T"),
    Rule("other than", DENIED, rf" other than {Q}{W}{{0,2}}T"),
    Rule("unlike in a row", DENIED, rf" (?:unlike|than|instead of|rather than) {W}{{0,2}}[OS] (?:and|or) {W}{{0,2}}T"),
    Rule("believed", DENIED, rf" {ANYONE} (?!(?:of|likely|probably|certainly)\b){W}{{0,4}}{BELIEVE} {Q}(?:{W}|[\"'] ){{0,7}}T"),
    Rule("what people say", DENIED, rf"T (?:\" )?{BE} what {W}{{0,4}}(?:people|many|most|everyone|you|one|some)\b"),
    Rule("whether", DENIED, rf" (?:whether|if) {Q}{W}{{0,5}}T"),
    Rule("false statement", DENIED, rf" (?:claim|statement|idea|notion|belief|assertion|suggestion|premise)\b[^.?!;]*T[^.?!;]* {BE} (?:\w+ly )?{FALSE}"),
    Rule("false, next", DENIED, rf"T[^.?!;O]*[.;,] (?:\" )?(?:(?:but|and|however|yet) (?:, )?)?(?:this|that|which|it) {BE} (?:\w+ly )?{FALSE}(?! (?:for|of|everywhere|elsewhere|outside)\b)"),
    Rule("taken back", DENIED, r"T[^O]*(?:\b(?:no wait|wait no|i mean|i meant|sorry|scratch that|correction|or rather|my mistake|oops|my bad)\b|\bwait , |[.;] (?:no , |well , )?actually\b|\? (?:\" )?(?:no|nope|wrong|incorrect|not)\b)[^T]*O"),
    Rule("no, the other", DENIED, r"T (?:[.] )*(?:[,.;-] )?(?:\" )?(?:no|nope|wrong) (?=[,.:;-]|it |O )[^T]*O"),
    Rule("forget it", DENIED, rf" (?:forget|ignore|disregard|discard|nothing to do with) (?:about )?{Q}{W}{{0,2}}T"),
    Rule("answered no", DENIED, r"T[^.?!]*\? (?:\" )?(?:no|nope|wrong|incorrect)\b"),
    Rule("scripts: not", DENIED, r"(?:不是|并非|並非|不在|不再是|而非|非) ?T"),
    Rule("scripts: isn't", DENIED, r"T (?:で ?は ?な|じゃな|で ?は ?あ ?り ?ま ?せ ?ん|で ?な ?く|[이가은는] ?아 ?[니닌닙])"),
    # Aside: something else is said of it
    Rule("former", DENIED, rf" (?:formerly|former(?! name)|previously|previous|used to be|erstwhile) (?:[,:] )?(?:(?!and ){W}){{0,6}}T"),
    Rule("once", ASIDE, rf" (?:originally|once|historically|before (?:that|then|\d+)|prior to|initially|at first|until recently|former name|used to)\b (?:[,:] )?{W}{{0,6}}T| (?:before|earlier) [,:] (?:it was )?T| (?:old|older|earlier|initial) {W}{{0,3}}(?:was|were|had been) {W}{{0,1}}T"),
    Rule("before", ASIDE, r" before (?:the )?T(?! (?:took|became|was|is|replaced|has|had))"),
    Rule("left", ASIDE, rf" (?:left|leaving|leaves|abandoned|abandoning|(?:mov\w+|relocat\w+|transfer\w+|shift\w+|chang\w+|switch\w+|went|away|evacuat\w+) from|out of|replaced(?! by)|replaces|replacing|succeeded(?! by)|succeeds|succeeding|supplanted(?! by)|over from|outside|near|close to|north of|south of|east of|west of|between|like|similar to|compared to|compared with|followed by|versus|vs|away from|chosen over|preferred over|picked over|selected over|destruction in|damage in|destroyed|born in) {W}{{0,1}}T"),
    Rule("from and to", ASIDE, rf" from {W}{{0,2}}T (?:in\w* )?(?:to|into) "),
    Rule("between", ASIDE, rf" between {W}{{0,1}}[OS] and {W}{{0,1}}T"),
    Rule("destroyed", ASIDE, rf"T having |T (?:{VERB} )?(?:been |being )?(?:\w+ly )?(?:destroyed|damaged|flooded|evacuated|ruined|fell|abandoned|deserted|succeeded)\b"),
    Rule("no move", DENIED, rf" (?:relocation|move|transfer|change|shift) {W}{{0,2}}to T [^.;!?O]*\b(?:not|never|fictional|hypothetical)\b"),
    Rule("replaced", DENIED, rf"T (?:{VERB} )?(?:been |being )?(?:\w+ly )?(?:gave way|given way|made way|history|lost its|ceased|used to be|until|no more|anymore|(?:replaced|superseded|supplanted)(?! (?:[OST]|the|as) ))\b"),
    Rule("replaced by", DENIED, r"T (?:was|is|has been|had been|got|being|,) (?:\w+ly )?(?:replaced|superseded|supplanted|swapped|exchanged|traded|given up|ousted|displaced|stripped)\b"),
    Rule("was former", DENIED, rf"T (?:[,(] |- )?(?:{BE} )?(?:(?!an? |replac|succe|supplant){W}){{0,4}}(?:former|previous|old|original|erstwhile|(?:formerly|previously)(?! (?:known|called|named|referred|an?|part|belong\w+)\b))\b(?![^.;!?]*, (?:is|remains|has been) {ADVERBS}the\b)(?! (?:(?!and )[^.,;!?)]){{0,30}}[OS] )"),
    Rule("gave to", DENIED, r"T (?:\w+ly )?(?:ceded|passed|handed|yielded|surrendered|relinquished|lost|gave|sold|donated) [^.,;!?T]*\bto (?:the )?O"),
    Rule("was until", DENIED, r"T (?:was|had been|had|held|served|remained) [^.;!?OS]*\b(?:until\b|before (?:[^\w ]|$|that|then|it|being|the (?:move|relocation)|\d))"),
    Rule("until", DENIED, rf" (?:was|had been) T until\b| until {W}{{0,3}}T ,"),
    Rule("doubt", DENIED, rf" (?:doubt|doubtful|unlikely|impossible) (?:that )?{W}{{0,4}}T|T {BE} (?:very |highly )?(?:unlikely|doubtful|impossible)\b"),
    Rule("something else", SITUATED, rf"T {BE} {ADVERBS}(?:{OTHER_KIND})\b"),
    Rule("ranked", RANKED, rf"T {BE} {ADVERBS}the (?:\w+ly )?(?:most|main|(?!rest |interest |forest |west |east )\w{{2,}}est)\b"),
    Rule("conceded", ASIDE, r" (?:although|though|even though|while|whereas|despite|notwithstanding|even if|albeit|in spite of"
         r"|contrary to|in contrast to|unlike)\b[^.;?!,]*(?:, (?:which|who|where|whose)[^.;?!,]*)?T"),
    Rule("reputed", ASIDE, rf"T (?:(?:{BE}|may be|may have been|might be) {W}{{0,2}}{REPUTED}|(?:gets?|got|receives?|received|takes?|took|has) {W}{{0,3}}(?:credit|attention|fame|glory))\b[^.;!?O]*(?:[,.;] )?(?:\" )?(?:but|however|yet|though|although|in fact|in reality|actually)\b[^T]*O"),
    Rule("reputed to be", ASIDE, rf" {REPUTED} (?:to (?:be|have been) |that it (?:is|was) |as |with |to )(?:in |by |the |an? )*T[^.;!?]*\b(?:but|however|yet|though|in fact|in reality|actually)\b[^.;!?]*O"),
    Rule("thought", ASIDE, rf" i (?:had |have |would have |first |initially |originally |always )?(?:thought|assumed|said|guessed|expected) {Q}{W}{{0,5}}T"),
    Rule("i would say", ASIDE, rf" i would (?:\w+ly )?(?:say|answer|go with|guess|think|expect) {W}{{0,4}}T[^.;!?O]*\b(?:but|however|yet)\b[^.;!?]*O"),
    Rule("usual answer", ASIDE, rf" (?:usual|popular|traditional|expected|obvious|common|typical|conventional|standard|naive|intuitive|first) (?:answer|response|reply|choice|assumption|guess|thought) (?:{BE}|would be|might be|may be) {Q}{W}{{0,2}}T"),
    Rule("mentioned", ASIDE, rf" (?:mention|mentions|mentioned|name|occurrence) (?:of )?{Q}{W}{{0,2}}T"),
    Rule("doubtful", ASIDE, r"T[^.!?]*\? .*[OS]"),
    Rule("oblique", ASIDE, rf"O[^.;!?]* (?:of|with|on|about|from|after|ahead of|against|under|for|upon|through|behind|beside|past|unlike|than) (?:(?!{BE} )[^\WTOS]+ ){{0,1}}T", beside=True),
    Rule("relative", ASIDE, r"O (?:[^.;!?]*, )?(?:(?:from|in|of|to|by|for) )?(?:who|which|that|where|whose|with|[a-z]+ing) (?:(?!(?:but|is|was)\b)[^.,;!?OT]+ )*T", beside=True),
    Rule("slipped in", ASIDE, r", (?:which|who|whose|whom|where|that|as|once|not|unlike|\w+ly|often|sometimes|long|\w+ed) [^,.;!?O]*T[^,.;!?O]*, (?!(?:but|and|or) )[^.;!?]*O"),
    Rule("fiction", QUOTED, r" (?:fictional|fictitious|hypothetical|imaginary|imagined|alternate|made-up) [^.;!?O]*T"),
    Rule("subordinate", ASIDE, rf" (?:after|since|when|because|following|if|once) {W}{{0,4}}T[^.;!?(]*, [^.;!?]*O"),
    Rule("caused", ASIDE, rf"O[^.;!?]*\b(?:because|since(?! then)|as|after(?! that)|when) {W}{{0,3}}T", beside=True),
    Rule("possessive", ASIDE, r"T 's [^.;!?]*O|O[^.;!?]*T 's "),
    Rule("second", ASIDE, rf"T (?:(?:{BE}|came|comes|finished|,) )?(?:the |his |her |its )?(?:second|third|runner-up|next|latter|other)\b"),
    Rule("afterwards", ASIDE, r"O [^.;!?TO]*\b(?:and (?:\w+ ){0,2}\w+ed|(?:later|subsequently|afterwards|eventually|then) \w+) (?:by|in|at|from|with|to|into|on) T", beside=True),
    Rule("share", ASIDE, r"O [^.;!?]*, (?:and|with) T (?:\d|at |makes )", beside=True),
    Rule("lesser", ASIDE, r"[OS] > T|T - > [OS]"),
    # Quoted
    Rule("the text says", QUOTED, rf" {SOURCE} {W}{{0,3}}{SAYS} {Q}(?:{W}|[\"'] ){{0,12}}T"),
    Rule("according to", QUOTED, rf" (?:according to|based on|per|in) (?:the |this |that |your ){W}{{0,2}}{SOURCE}\b[^.;!?]*T.*\b(?:but|however|though|although|in reality|actually|in fact|yet)\b"),
    Rule("what the text says", QUOTED, rf"T (?:[\",] )*(?:(?:{BE} what|as|says|claims|states|according to|per) {W}{{0,3}}{SOURCE}\b|{W}{{0,2}}{SOURCE} {SAYS}\b)"),
    Rule("it is said", QUOTED, rf" it (?:{BE}|has been|can be) (?:\w+ly )?(?:claimed|stated|said|suggested|argued|written|mentioned|reported|implied) {W}{{0,2}}(?:that )?{W}{{0,5}}T"),
    Rule("you asked", QUOTED, rf" (?:asked|asks|asking|wonder) {W}{{0,4}}T"),
)  # fmt: skip

STRESSES: tuple[Rule, ...] = (
    Rule("the answer is", STRESSED, rf" (?:answer|solution|correct|choice|option)(?: \w+ \w+)? (?:{BE}|:|=) {Q}(?:the |in |option |[a-e] \) |[a-e] [.:] )*{Q}T"),
    Rule("is right", STRESSED, rf"T (?:\" )?{BE} (?:also )?(?:correct|right|true|the (?:correct |right |final )?answer)\b"),
    Rule("now", STRESSED, rf" (?:now|currently|today|nowadays|presently) (?:, )?(?!known)(?:{W}){{0,4}}T"),
    Rule("is now", STRESSED, r"T (?:is |serves |became |took )?(?:now|currently|today|nowadays|took (?:its|the|over)|became (?:the|its|their|our|a)|instead)\b|T (?:is |was )?the (?:current|present|new|right|correct) one\b"),
    Rule("moved to", STRESSED, rf" (?:mov\w+|relocat\w+|transfer\w+|shift\w+|chang\w+|replaced|superseded|succeeded|made|way|ceded|passed|handed|yielded|lost|sold|donated)\b (?:{W}|[OS] )*?(?:to|by|with|into) {W}{{0,2}}T| until T (?:took|became|replaced|won|got)\b"),
    Rule("left for", STRESSED, rf" (?:left|leaving|abandon\w+|swapp?\w+|trad\w+|exchang\w+|gave up|giving up|desert\w+) {W}{{0,2}}(?:O )?for {W}{{0,1}}T| (?:left|leaving|abandon\w+) {W}{{0,1}}O and {W}{{1,5}}T| in favou?r of {W}{{0,2}}T| (?:since then|after that|afterwards|from then on) {W}{{0,2}}T"),
    Rule("made it", STRESSED, r" (?:made|making|declared|chose|chosen|named) (?:the city of )?T (?:its|the|as|a)\b"),
    Rule("in fact", STRESSED, rf" (?:in fact|in reality|actually|in truth|really is|remains|correct answer) (?:, )?{W}{{0,6}}T"),
    Rule("so", STRESSED, rf", so (?:, )?{W}{{0,6}}T| (?:therefore|thus|hence) (?:, )?{W}{{0,6}}T| so (?:, )?(?:the (?:\w+ )?(?:answer|capital) is |it is |it must be |i (?:would |will )?(?:say|answer|choose|go with) )?T"),
    Rule("also", STRESSED, r" also {W}{0,2}T"),
)  # fmt: skip
