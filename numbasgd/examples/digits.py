"""Handwritten digits by softmax regression, tested on digits that were not trained on.

Run it with ``python -m numbasgd.examples.digits``; the digits are those of scikit-learn.
"""

import sys

import numpy as np

import numbasgd


def main() -> None:
    """Train on three of four digits, and tell how many of the others are read right and which are mixed up."""
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        sys.exit('digits: scikit-learn, which has the data, is missing. pip install "numbasgd[estimators]"')

    images, digits = load_digits(return_X_y=True)  # 1797 images of 8 x 8 pixels, 0 to 16
    order = np.random.default_rng(0).permutation(len(images))
    test, training = order[:450], order[450:]

    fit = numbasgd.train(images[training], digits[training], loss="softmax", l2=1e-3, seed=0)
    print(fit.summary(weights=3))

    read = fit.predict(images[test])
    print(f"\n{np.mean(read == digits[test]):.1%} of {len(test)} other digits are read right; mixed up are:")
    wrong = read != digits[test]
    pairs, counts = np.unique(np.c_[digits[test], read][wrong], axis=0, return_counts=True)
    for at in np.argsort(-counts, kind="stable")[:3]:
        digit, as_digit = pairs[at]
        print(f"  {digit} read as {as_digit}: {counts[at]}")


if __name__ == "__main__":
    main()
