"""Function words of seven languages: they join a sentence together and say nothing about what went wrong.

Negations ("not", "never", "nicht", "pas") are missing on purpose: "not found" is a complaint.
"""

from __future__ import annotations

from typing import Final

_ENGLISH: Final = """
a about after again all also am an and any are as at be because been before being both but by can could did do does
doing done for from get got had has have having he her here hers him his how i if in into is it it's its i'm i've just
let like me more most much my of on once one only or other our out over own please really s same she should so some
such t than that that's the their them then there these they this those through to too under up us very was we were
what when where which while who why will with would you your
"""
_GERMAN: Final = """
aber alle als also am an auch auf aus bei beim bin bis bitte da damit dann das dass dem den der des die dies diese
dieser doch du durch ein eine einem einen einer er es euch für hat hatte ich ihr im in ist ja jetzt kann man mein
meine mich mir mit nach noch nur oder schon sehr sein sich sie sind so über um und uns unter vom von vor war was wenn
wer werden wie wieder will wir wird wo zu zum zur
"""
_FRENCH: Final = """
au aux avec ce ces cette c'est d dans de des du elle en est et il ils j j'ai je l la le les leur lui ma mais me mes mon
nous on ont ou où par plus pour qu que qui sa se ses son sont sur ta te tu un une vous y à été
"""
_SPANISH: Final = """
al como con de del desde el ella en era eres es esta este esto está fue ha han hay la las lo los me mi muy más o para
pero por que se ser si sobre son su sus también te tu un una uno y ya yo
"""
_ITALIAN: Final = """
al alla anche che chi ci come con da dal dei del della di e ed era gli ha ho il in io la le lo ma mi nel nella o per
più questa questo se si sono su tra un una è
"""
_PORTUGUESE: Final = """
ao aos as com como da das de do dos e ela ele em eu foi isso já mais mas me meu na nas nos o os ou para pela pelo por
que se sua também um uma você à é
"""
_DUTCH: Final = """
aan als bij dan dat de deze die dit door een en er had heb heeft het hij hoe ik in is je kan maar me met mijn naar nog
of om ook op over te tot uit van voor was wat we wel wij worden ze zich zij zijn
"""

STOP_WORDS: Final = frozenset(
    word
    for language in (_ENGLISH, _GERMAN, _FRENCH, _SPANISH, _ITALIAN, _PORTUGUESE, _DUTCH)
    for word in language.split()
)
"""In the form that `words` gives: lower case, without punctuation."""
