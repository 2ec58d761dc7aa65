"""What a key's claim rests on: which assumptions its theorem makes, whether they hold here, and what is left if not.

    tally.py      what a station counts while a block fills up
    limits.py     how much of each effect is tolerated
    judge.py      counts and alarms -> one verdict an assumption
    exchange.py   each station tells the other which of its assumptions failed
    claim.py      both stations' failures -> the block's claim, the same at both ends

Counts stay with their station: what is announced of them is charged to the key (`exchange`).
"""
