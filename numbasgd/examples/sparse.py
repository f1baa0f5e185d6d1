"""Texts as sparse rows of word counts, told apart by logistic regression, tested on texts not trained on.

Run it with ``python -m numbasgd.examples.sparse``; it needs SciPy.
"""

import sys

import numpy as np

import numbasgd

TEXTS, LENGTH, WORDS = 20_000, 60, 50_000
TOPICS = {
    "cooking": "oven butter garlic dough pepper whisk recipe simmer",
    "sailing": "harbour anchor rudder tide mast keel knots breeze",
}


def main() -> None:
    """Train on three of four texts, and tell how many others are told right, and by which words."""
    try:
        from scipy import sparse
    except ImportError:
        sys.exit('sparse: SciPy is missing. pip install "numbasgd[estimators]"')

    # A text is 60 words.  Most of them follow Zipf's law: the r-th most frequent one comes 1/r times as often as
    # the first.  One in 12 is of a topic, and of four of these three are of the text's own.
    rng = np.random.default_rng(0)
    own = [word for words in TOPICS.values() for word in words.split()]
    each = len(own) // 2
    vocabulary = np.array(own + [f"word{r}" for r in range(1, WORDS - len(own) + 1)])
    frequency = 1 / np.arange(1, WORDS - len(own) + 1)
    word = len(own) + rng.choice(len(frequency), (TEXTS, LENGTH), p=frequency / frequency.sum())
    topic = rng.integers(2, size=TEXTS)
    told = np.where(rng.random(word.shape) < 0.75, topic[:, None], 1 - topic[:, None])
    word = np.where(rng.random(word.shape) < 0.08, told * each + rng.integers(each, size=word.shape), word)

    text = np.repeat(np.arange(TEXTS), LENGTH)
    counts = sparse.csr_array((np.ones(text.size), (text, word.ravel())), (TEXTS, WORDS))
    print(f"{TEXTS} texts, {WORDS} words: {counts.nnz} counts are stored of {TEXTS * WORDS}")

    labels, test = np.array([*TOPICS])[topic], TEXTS // 4
    fit = numbasgd.train(counts[test:], labels[test:], loss="logistic", l2=3e-3, seed=0)
    rate = counts[test:].nnz / fit.seconds_per_epoch / 1e6
    print(
        f"trained for {fit.epochs[-1]:.0f} epochs at {rate:.0f} million counts a second: {fit.stopped_because}"
    )

    right = np.mean(fit.predict(counts[:test]) == labels[:test])
    print(f"\n{right:.1%} of {test} other texts are told right, by these words:")
    by_weight = vocabulary[np.argsort(fit.w)]
    for name, words in zip(fit.classes, (by_weight, by_weight[::-1]), strict=True):
        print(f"  {name}  {' '.join(words[:each])}")


if __name__ == "__main__":
    main()
