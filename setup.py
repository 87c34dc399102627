# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Install deltaworld_ros with pip or colcon."""

from glob import glob
from pathlib import Path

from setuptools import find_packages, setup

package_name = 'deltaworld_ros'
here = Path(__file__).parent


def version() -> str:
    """Read the one version number, which lives in the package."""
    for line in (here / package_name / '__init__.py').read_text().splitlines():
        if line.startswith('__version__'):
            return line.split("'")[1]
    raise RuntimeError('deltaworld_ros/__init__.py has no __version__')


export = [
    'torch>=2.6',
    'safetensors>=0.4',
    'onnx>=1.16',
    'onnxscript>=0.5',
]

setup(
    name=package_name,
    version=version(),
    packages=find_packages(include=[package_name, f'{package_name}.*']),
    package_data={
        package_name: ['bundles/*/*', 'sample/*/*', '**/*.html', '**/*.j2'],
    },
    data_files=[
        ('share/ament_index/resource_index/packages', [f'resource/{package_name}']),
        (f'share/{package_name}', ['package.xml']),
        (f'share/{package_name}/launch', sorted(glob('launch/*.launch.py'))),
        (f'share/{package_name}/config', sorted(glob('config/*.*'))),
        (f'share/{package_name}/config/nav2', sorted(glob('config/nav2/*'))),
    ],
    python_requires='>=3.10',
    # The lower bounds are what ROS 2 Jazzy's Ubuntu ships.
    install_requires=[
        'numpy>=1.26',
        'opencv-python-headless>=4.6',
        'pyyaml>=6.0',
        'pydantic>=1.10',
        'onnxruntime>=1.17',
        'typer>=0.9',
        'rich>=13.0',
        'rosbags>=0.11',
        'jinja2>=3.1',
        'pillow>=10.1',
    ],
    extras_require={
        # ROS 2 Jazzy as wheels, for machines without a ROS installation (x86-64 Linux).
        'ros': [
            'ros-jazzy-rclpy[fastrtps]',
            'ros-jazzy-sensor-msgs',
            'ros-jazzy-std-msgs',
            'ros-jazzy-std-srvs',
            'ros-jazzy-diagnostic-msgs',
            'ros-jazzy-lifecycle-msgs',
            'ros-jazzy-geometry-msgs',
            'ros-jazzy-nav-msgs',
            'ros-jazzy-rcl-interfaces',
            'ros-jazzy-rosgraph-msgs',
        ],
        # Conversion of checkpoints, export of networks, and the torch engine.
        'export': export,
        # TensorRT-RTX takes the place of TensorRT where it is installed.
        'tensorrt': ['tensorrt>=10.3'],
        # `deltaworld demo --view` and `replay --view`.
        'view': ['foxglove-sdk>=0.30'],
        # Recordings at addresses, and a cluster to score them on.
        'cluster': ['fsspec>=2024.2', 'ray>=2.9'],
        # INT8 at export: what NVIDIA ModelOpt needs on the CPU. Its own extra brings CUDA.
        'quantise': [
            'nvidia-modelopt>=0.47',
            'onnx-graphsurgeon>=0.6',
            'onnxconverter-common>=1.16',
            'onnxslim>=0.1.98',
            'lief>=1.0',
            'cppimport>=26.4',
            'ml-dtypes>=0.5',
        ],
        'dev': [
            'pytest>=8.0',
            'pytest-timeout>=2.3',
            'pytest-xdist>=3.6',
            # Speaks to the live view and, in the report's tests, to a browser.
            'websockets>=15.0',
            'foxglove-sdk>=0.30',
            'coverage>=7.6',
            'ruff>=0.9',
            'mypy>=1.13',
            'types-PyYAML',
            # colcon runs setup.py, which newer versions refuse.
            'setuptools>=70.1,<80',
            'transformers>=4.56',
            'webdataset>=0.2.86',
            # Tests compare with these: scores, and bags that a cluster scored.
            'scoringrules>=0.7',
            'ray>=2.9; python_version < "3.14"',
            'efficientnet-lite-pytorch==0.1.0',
            'colcon-core',
            'colcon-ros',
            # Builds engines for any GPU on machines with none; there are wheels for x86-64 only.
            'tensorrt-rtx-cu13-bindings>=1.7; '
            'platform_machine == "x86_64" and sys_platform == "linux"',
            'tensorrt-rtx-cu13-libs>=1.7; '
            'platform_machine == "x86_64" and sys_platform == "linux"',
        ],
    },
    zip_safe=True,
    author='The deltaworld_ros authors',
    author_email='deltaworld_ros@example.org',
    maintainer='The deltaworld_ros authors',
    maintainer_email='deltaworld_ros@example.org',
    description='Forecast what a camera will see: weighted futures of segmentation and depth.',
    license='Apache-2.0',
    entry_points={
        'console_scripts': [
            'deltaworld = deltaworld_ros.start:main',
            'forecast_node = deltaworld_ros.node.start:main',
            'speed_governor = deltaworld_ros.node.speed_governor:main',
        ],
    },
)
