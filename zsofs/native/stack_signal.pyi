from typing import NoReturn

def answer_signal(
    number: int, asked: int, answered: int, stacks: int, log: int, patience: float
) -> NoReturn: ...
