"""Recognise folder names that stand for a part of a data set (train, test-set, val2017, masks,
fold3) and not for a class: competitions ship such folders, with the classes in a table."""

import re

TRAINING = r"train(ings?)?|trn|entrenamiento|treino|treinamento|entra[iî]nement|addestramento"
HELD_OUT = (
    r"test(s|e(?![a-z])|ing)?|tst|val(id(ation|ate)?)?|dev(el(opment)?)?|eval(uation)?"
    r"|hold[ _-]?out|pruebas?|validaci[oó]n|valida[cç][aã]o|validierung"
)
BESIDE = (  # other words in such names, or names of folders beside them
    r"public|private|stage|sub|un|label(l?ed|s)?|images?|imgs?|pictures?|photos?|data|daten|sets?"
    r"|parts?|split|files?|all|small|full|extra|masks?|annotations?|sample"
)
# a single word of a name: train, trainset, Testdaten, trainval
WORD = re.compile(
    rf"((?P<training>{TRAINING})|(?P<held_out>{HELD_OUT}))+({BESIDE})?", re.IGNORECASE
)
WHOLE = re.compile(rf"({TRAINING}|{HELD_OUT}|{BESIDE}|[ _.-]|[0-9])+", re.IGNORECASE)
CONTENT = re.compile(
    r"images?|imgs?|pictures?|photos?|masks?|labels?|annotations?"
    # pieces of one set: fold3, images_001, HAM10000_images_part_1
    r"|(.*[ _-])?(fold|split|chunk|shard|(images?|imgs?|data)([ _-]?(part|batch|set))?)"
    r"[ _-]?[0-9]+",
    re.IGNORECASE,
)


def are_parts(folders: list[str]) -> bool:
    """Whether `folders`, all that directly hold images, are named after parts: no name contains
    anything else; or they include training and held-out parts, which are at least half of them."""
    kinds = [find_kinds(name) for name in folders]
    is_whole = [WHOLE.fullmatch(name) is not None for name in folders]
    if all(is_whole) and any(kinds) or all(map(CONTENT.fullmatch, folders)):
        return True
    beside = sum(whole and not kind for whole, kind in zip(is_whole, kinds))
    with_kind = sum(map(bool, kinds))
    return len(set().union(*kinds)) > 1 and 2 * with_kind >= len(folders) - beside


def find_kinds(folder: str) -> set[str]:
    """The kinds of part that a name contains, training or held_out: trainA, x_test, train-jpg."""
    words = re.split(r"[\W\d_]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", folder))
    matches = filter(None, map(WORD.fullmatch, words))
    return {kind for match in matches for kind, text in match.groupdict().items() if text}
