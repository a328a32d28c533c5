"""Installs the library and the ``rmpsam`` command on machines without ROS (training, export).

In a ROS 2 workspace CMakeLists.txt is used instead, which also generates the messages.
"""

import re
from pathlib import Path

from setuptools import Extension, find_packages, setup
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py

HERE = Path(__file__).parent
VERSION = re.search(
    r'^__version__ = "(.+)"$', (HERE / "rmpsam_ros" / "__init__.py").read_text(), re.MULTILINE
).group(1)


class BuildKernels(build_ext):
    """Builds a plain shared library for ctypes, under the name that CMake gives it too."""

    def get_ext_filename(self, ext_name):
        return str(Path(*ext_name.split("."))) + ".so"

    def get_export_symbols(self, ext):
        return ext.export_symbols  # no PyInit_... function: this is no Python extension module


class WithDefinitions(build_py):
    """Adds the message definitions, from which recordings are written without ROS."""

    def run(self):
        super().run()
        target = Path(self.build_lib) / "rmpsam_ros" / "message_definitions"
        if not self.editable_mode:  # else they are read from beside the package
            self.mkpath(str(target))
            for path in sorted(HERE.glob("msg/*.msg")):
                self.copy_file(str(path), str(target / path.name))


setup(
    name="rmpsam_ros",
    version=VERSION,
    description="Panoptic segmentation, instance tracks and prompted masks from one network",
    license="Apache-2.0",
    # To be replaced at the first release, as in package.xml: see CONTRIBUTING.md.
    maintainer="rmpsam_ros maintainers",
    maintainer_email="maintainers@rmpsam-ros.example",
    url="https://rmpsam-ros.example",
    project_urls={
        "Repository": "https://rmpsam-ros.example/rmpsam_ros",
        "Bug tracker": "https://rmpsam-ros.example/rmpsam_ros/issues",
    },
    python_requires=">=3.10",
    packages=find_packages(include=["rmpsam_ros", "rmpsam_ros.*"]),
    package_data={
        "rmpsam_ros": ["py.typed"]
        + [f"**/*.{suffix}" for suffix in ("json", "yaml", "safetensors", "md", "txt", "gz")]
        + [f"console/page/*.{suffix}" for suffix in ("html", "js", "css", "svg")]
    },
    ext_modules=[
        Extension(
            "rmpsam_ros._native.librmpsam_kernels",
            sources=sorted(str(path.relative_to(HERE)) for path in HERE.glob("src/*.cpp")),
            depends=sorted(str(path.relative_to(HERE)) for path in HERE.glob("src/*.hpp")),
            # Vectors are passed between inlined functions only: no ABI to be warned of. Python
            # brings -fwrapv, with which loops are a quarter slower.
            extra_compile_args=(
                "-std=c++17 -O3 -fno-wrapv -Wall -Wextra -Wno-psabi -pthread".split()
            ),
            extra_link_args=["-pthread"],
            language="c++",
        )
    ],
    cmdclass={"build_ext": BuildKernels, "build_py": WithDefinitions},
    install_requires=[
        "numpy>=1.26,<3",
        "opencv-python-headless>=4.5,<6",
        "pycocotools>=2.0.6",
        "PyYAML>=5.4",
        "safetensors>=0.4",
        "scipy>=1.8",
        "simplejpeg>=1.7",
        "torch>=2.6",
        "tqdm>=4.57",
    ],
    extras_require={
        "console": ["aiohttp>=3.9"],
        "onnxruntime": ["onnx>=1.16", "onnxruntime>=1.17", "onnxscript>=0.5"],
        "openvino": ["onnx>=1.16", "onnxscript>=0.5", "openvino>=2024.0"],
        "tensorrt": ["onnx>=1.16", "onnxscript>=0.5", "tensorrt>=10.0"],
        "bag": ["mcap>=1.2", "rosbags>=0.11"],
        "fleet": ["fsspec>=2024.2", "mcap>=1.2", "ray>=2.40", "rosbags>=0.11"],
    },
    entry_points={"console_scripts": ["rmpsam = rmpsam_ros.cli.main:main"]},
)
