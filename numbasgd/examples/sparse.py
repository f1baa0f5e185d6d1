"""Texts as sparse rows of word counts, told apart by logistic regression, tested on texts not trained on.

Run it with ``python -m numbasgd.examples.sparse``; it needs SciPy.
"""

import sys

import numpy as np

import numbasgd

TEXTS, LENGTH, WORDS = 20_000, 60, 50_000
TOPICS = {
    "cooking": "oven butter garlic dough pepper whisk recipe simmer".split(),
    "sailing": "harbour anchor rudder tide mast keel knots breeze".split(),
}


def texts() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The words of each text (TEXTS, LENGTH) by number, the number of its topic, and all words in order.

    Most words follow Zipf's law: the r-th most frequent one comes 1/r times as often as the first.  One in 12
    is of a topic, and of four of these three are of the text's own.
    """
    rng = np.random.default_rng(0)
    of_topics = TOPICS["cooking"] + TOPICS["sailing"]
    each = len(of_topics) // 2
    ranks = np.arange(1, WORDS - len(of_topics) + 1)
    frequency = 1 / ranks
    word = len(of_topics) + rng.choice(ranks.size, (TEXTS, LENGTH), p=frequency / frequency.sum())
    topic = rng.integers(2, size=TEXTS)
    spoken_of = np.where(rng.random(word.shape) < 0.75, topic[:, None], 1 - topic[:, None])
    word_of_topic = each * spoken_of + rng.integers(each, size=word.shape)
    word = np.where(rng.random(word.shape) < 1 / 12, word_of_topic, word)
    return word, topic, np.array([*of_topics, *(f"word{rank}" for rank in ranks)])


def main() -> None:
    """Train on three of four texts, and tell how many others are told right, and by which words."""
    try:
        from scipy import sparse
    except ImportError:
        sys.exit('sparse: SciPy is missing. pip install "numbasgd[estimators]"')

    word, topic, vocabulary = texts()
    text = np.repeat(np.arange(TEXTS), LENGTH)
    counts = sparse.csr_array((np.ones(text.size), (text, word.ravel())), (TEXTS, WORDS))
    labels, test = np.array([*TOPICS])[topic], TEXTS // 4
    print(f"{TEXTS} texts, {WORDS} words: {counts.nnz} counts are stored of {TEXTS * WORDS}")

    fit = numbasgd.train(counts[test:], labels[test:], loss="logistic", l2=3e-3, seed=0)
    rate = counts[test:].nnz / fit.seconds_per_epoch / 1e6
    print(f"{fit.epochs[-1]:.0f} epochs at {rate:.0f} million counts a second. {fit.stopped_because}")

    right = np.mean(fit.predict(counts[:test]) == labels[:test])
    print(f"\n{right:.1%} of {test} other texts are told right, by these words:")
    by_weight = vocabulary[np.argsort(fit.w)]  # from those that tell of the first class to those of the second
    print("  cooking ", *by_weight[:8])
    print("  sailing ", *by_weight[:-9:-1])


if __name__ == "__main__":
    main()
