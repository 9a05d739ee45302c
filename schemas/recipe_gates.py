"""The recipe about validation: what the reference model must find in a dataset before it may be called validated."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveFloat, PositiveInt

from schemas.recipe_base import Fraction, Model


class GateTraining(Model):
    """The models that the gates train."""

    size: Literal["tiny", "small", "base"] = "tiny"
    """Size of the reference model."""
    steps: PositiveInt = 600
    """Steps of each training; a short validation takes a part of them."""
    batch_size: PositiveInt = 4
    """Chips per step."""
    crop_m: PositiveFloat | None = 480.0
    """Edge of the part of a chip that a step shows; whole chips where null."""
    seed: int = Field(default=0, ge=0, lt=2**32)
    """Of weights, order, crops and controls."""
    label: str | None = None
    """Label that they learn, of products that are not fused; the fused one, or the only one, where None."""


class LearnableGate(Model):
    """The model must find in the pictures what the labels say, on ground that it never saw."""

    min_gain_over_majority: Fraction = 0.1
    """Mean IoU above always naming the largest class."""
    min_gain_over_pixels: float = 0.0
    """Mean IoU above a logistic regression on the spectrum of single pixels."""
    min_gain_over_labels: float = 0.0
    """Where the truth is given: mean IoU of the model against it, above that of the labels it learned from."""


class ControlsGate(Model):
    """What must be lost when the dataset is spoilt on purpose."""

    min_loss_labels: Fraction = 0.1
    """Mean IoU lost by training on labels of other chips."""
    shift_px: PositiveInt = 10
    """Pixels of the label by which pictures are moved."""
    min_loss_shift: Fraction = 0.03
    """Mean IoU lost by it, on average over directions; by as much no move into one of them may be better."""


class ModalitiesGate(Model):
    """Every modality must say something, and none may spoil the others."""

    min_gain_alone: Fraction = 0.03
    """Mean IoU of each modality alone above always naming the largest class."""
    max_harm: Fraction = 0.03
    """Mean IoU that leaving a modality out may gain."""


class TextsGate(Model):
    """Captions must find their pictures among the held-out chips, 50 drawn of more, and pictures theirs."""

    min_gain: Fraction = 0.15
    """Recall at 5 (at 1 where chance finds half at 5), mean of both ways: share of the way from chance to perfect. Of
    few chips more is asked: what luck reaches in no more than 5 % of all cases.
    """


class LeakGate(Model):
    """Held-out chips must be new ground."""

    max_overlapping_pairs: int = Field(default=0, ge=0)
    """Pairs of a held-out and a training chip that share ground; as many may look alike, as the build found."""
    max_near_gain: Fraction = 0.1
    """Accuracy of the nearer half of the held-out chips above that of the farther half."""
    max_random_gap: Fraction = 0.15
    """Mean IoU that a split at random gains over the dataset's own."""


class NoiseGate(Model):
    """Labels must mostly agree with what is predicted for chips that were left out of training."""

    max_noise: Fraction = 0.35
    """Share of labelled pixels that seem to be of another class."""
    min_ranking: Fraction = 0.8
    """Area under the curve with which chips are found whose labels were exchanged on purpose."""
    folds: int = Field(default=3, ge=2, le=10)
    """Parts of the training chips, each predicted by a model that saw the others."""
    suspicious: PositiveInt = 12
    """Chips that are listed for a person."""


class StatisticsGate(Model):
    """What the manifest says of the bands must be so, and must not drift unseen from version to version."""

    max_error: PositiveFloat = 1e-4
    """Difference of a mean or deviation that is measured again, in deviations of the band."""
    max_drift: PositiveFloat = 0.5
    """Difference of a band's mean from the parent version's, in deviations."""
    max_class_drift: Fraction = 0.15
    """Share of the labelled area that changes its class from the parent version to this one."""


class PlausibleGate(Model):
    """Numbers must be such as ground, sun and sensors give; a dataset of a rare kind may allow more."""

    max_reflectance: PositiveFloat = 1.2
    """Brightest band, median over chips and dates: snow reflects all of the light."""
    min_reflectance: PositiveFloat = 0.004
    """The same at the least: the sea reflects some of the blue."""
    max_broken_spectra: Fraction = 0.1
    """Share of the chips and dates in which a band leaps from both beside it."""
    max_disagreement: PositiveFloat = 1.0
    """Difference of bands of one wavelength, over what sensors and near dates may differ by."""
    max_misnamed: PositiveFloat = 1.5
    """How much farther two bands of a sensor are from another sensor's than where the two exchange their names."""
    max_beyond_db: float = Field(default=0.0, ge=0.0)
    """Decibels by which mean backscatter lies outside of -45 to -0.5."""
    max_cross_above_db: float = 0.0
    """Decibels by which VH lies above VV, or HV above HH."""
    max_sun_off: Fraction = 0.2
    """Share of the acquisitions whose sun stands 12 degrees from where the place and time have it."""
    max_seam: PositiveFloat = 0.5
    """Change from a chip to its neighbour of the same date: 0 as from one pixel to the next, 1 as to its far side."""


class Gates(Model):
    """Thresholds of `terraweft validate`, a section for each gate."""

    training: GateTraining = GateTraining()
    """The models."""
    learnable: LearnableGate = LearnableGate()
    """See there."""
    controls: ControlsGate = ControlsGate()
    """See there."""
    modalities: ModalitiesGate = ModalitiesGate()
    """See there."""
    texts: TextsGate = TextsGate()
    """See there."""
    leak: LeakGate = LeakGate()
    """See there."""
    noise: NoiseGate = NoiseGate()
    """See there."""
    statistics: StatisticsGate = StatisticsGate()
    """See there."""
    plausible: PlausibleGate = PlausibleGate()
    """See there."""
