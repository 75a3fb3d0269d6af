"""English words that say what another word is: heuristics, all in one place to be read and changed."""

from __future__ import annotations

PARTICLES = frozenset("of the de da del della di do dos du la le las los van von der den ten ter al el bin ibn".split())
"""Small words inside names: Bank of England, Ludwig van Beethoven."""

FUNCTION_WORDS = frozenset(
    """a about after all also although an and any are as at be because been before being between both but by can
    complete could did do does during each every few fill find for from give has have he her here his how i if in into
    is it its list made many may me more most much must my name no not of on one or our please say several she should
    since so some state such tell that the their them then there these they this those through to two under until up was
    we were what when where whether which while who whom whose why will with would write you your""".split()
)
"""Words that begin sentences without naming anything."""
