"""Which names of folders say what part of a data set lies there (train, test-set, val2017, masks,
fold3) and not which class: competitions give such folders, and the classes in a table."""

import re

TRAINING = r"train(ings?)?|trn|entrenamiento|treino|treinamento|entra[iî]nement|addestramento"
HELD_OUT = (
    r"test(s|e(?![a-z])|ing)?|tst|val(id(ation|ate)?)?|dev(el(opment)?)?|eval(uation)?"
    r"|hold[ _-]?out|pruebas?|validaci[oó]n|valida[cç][aã]o|validierung"
)
BESIDE = (  # what else stands in such names, or is the name of a folder beside them
    r"public|private|stage|sub|un|label(l?ed|s)?|images?|imgs?|pictures?|photos?|data|daten|sets?"
    r"|parts?|split|files?|all|small|full|extra|masks?|annotations?|sample"
)
# a word of a name: train, trainset, Testdaten, trainval
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
    """Whether these names, of all folders in which images lie directly, are those of parts: each
    says nothing else; or training and held-out parts are among them, and are at least half."""
    said = [kinds(name) for name in folders]
    whole = [WHOLE.fullmatch(name) is not None for name in folders]
    if all(whole) and any(said) or all(map(CONTENT.fullmatch, folders)):
        return True
    beside = sum(one and not kind for one, kind in zip(whole, said))
    saying = sum(map(bool, said))
    return len(set().union(*said)) > 1 and 2 * saying >= len(folders) - beside


def kinds(folder: str) -> set[str]:
    """Which kinds of part a name speaks of, training and held_out: trainA, x_test, train-jpg."""
    words = re.split(r"[\W\d_]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", folder))
    found = filter(None, map(WORD.fullmatch, words))
    return {kind for one in found for kind, text in one.groupdict().items() if text}
