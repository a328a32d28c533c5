"""ResNet as an ONNX graph (reference section 2)."""

from torch import nn

from rmpsam_ros.model.resnet import BasicBlock, Bottleneck, ResNet
from rmpsam_ros.runtime.graph_builder import expect
from rmpsam_ros.runtime.layer_graph import LayerWriter


def write_resnet(layers: LayerWriter, net: ResNet, image: str) -> list[str]:
    """Write the backbone and return c2 to c5 of ``image`` [B, 3, H, W].

    Quantised forms store activations in eight bits behind the first convolution, which eight
    bits do not make faster.
    """
    x = layers.conv_norm(image, net.conv1, net.bn1)
    x = layers.graph.op("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    x = layers.relu(x)  # behind the pooling it is the same, and a quarter of the work
    x = layers.quantizer.activation(x, "backbone.stem", positive=True)
    levels = []
    for name, stage in net.named_children():
        if name.startswith("layer"):
            for index, block in enumerate(stage.children()):
                if not isinstance(block, Bottleneck):
                    block = expect(block, BasicBlock)
                x = _block(layers, x, block, f"backbone.{name}.{index}")
            levels.append(x)
    return levels


def _block(layers: LayerWriter, x: str, block: BasicBlock | Bottleneck, name: str) -> str:
    quantizer = layers.quantizer
    convolutions = [(block.conv1, block.bn1), (block.conv2, block.bn2)]
    if isinstance(block, Bottleneck):
        convolutions.append((block.conv3, block.bn3))
    y = x
    for index, (conv, norm) in enumerate(convolutions[:-1]):
        y = layers.relu(layers.conv_norm(y, conv, norm))
        y = quantizer.activation(y, f"{name}.{index}", positive=True)
    y = quantizer.branch(layers.conv_norm(y, *convolutions[-1]), f"{name}.branch")
    if block.downsample is not None:
        conv = expect(block.downsample[0], nn.Conv2d)
        x = layers.conv_norm(x, conv, expect(block.downsample[1], nn.BatchNorm2d))
        x = quantizer.activation(x, f"{name}.shortcut")
    y = layers.relu(layers.graph.op("Add", y, x))
    return quantizer.activation(y, name, positive=True)
