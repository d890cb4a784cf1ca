"""tern's presets as plain PyTorch modules: the same names, so that state_dicts and tern's weights files are one."""
import torch
from torch import nn


class CifarCnn(nn.Module):
    """The preset cifar-cnn. Other activations and pools take the place of ReLU and max-pooling."""

    def __init__(self, classes=10, dropout=0.5, activation=nn.ReLU, pool=nn.MaxPool2d):
        super().__init__()
        channels = [3, 32, 32, 64, 64, 128, 128]
        for i in range(1, 7):
            setattr(self, f"conv{i}", nn.Conv2d(channels[i - 1], channels[i], 3, padding=1))
            setattr(self, f"bn{i}", nn.BatchNorm2d(channels[i]))
        self.activation, self.pool, self.dropout = activation(), pool(2), nn.Dropout(dropout)
        self.fc1, self.fc2, self.fc3 = nn.Linear(128, 64), nn.Linear(64, 32), nn.Linear(32, classes)

    def forward(self, x):
        for i in range(1, 7):
            x = self.activation(getattr(self, f"bn{i}")(getattr(self, f"conv{i}")(x)))
            if i % 2 == 0:
                x = self.pool(x)
        x = x.mean((2, 3))
        x = self.dropout(self.activation(self.fc1(x)))
        x = self.dropout(self.activation(self.fc2(x)))
        return self.fc3(x)


class LeNet(nn.Module):
    """The preset lenet."""

    def __init__(self, classes=10):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 6, 5), nn.Conv2d(6, 16, 5)
        self.fc1, self.fc2, self.fc3 = nn.Linear(400, 120), nn.Linear(120, 84), nn.Linear(84, classes)
        self.pool = nn.MaxPool2d(2)

    def forward(self, x):
        x = self.pool(torch.relu(self.conv1(x)))
        x = self.pool(torch.relu(self.conv2(x)))
        x = torch.relu(self.fc1(x.flatten(1)))
        return self.fc3(torch.relu(self.fc2(x)))


class BasicBlock(nn.Module):
    def __init__(self, channels_in, channels, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.downsample = nn.Sequential()
        if stride != 1 or channels_in != channels:
            self.downsample = nn.Sequential(
                nn.Conv2d(channels_in, channels, 1, stride, bias=False), nn.BatchNorm2d(channels))

    def forward(self, x):
        y = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        return torch.relu(y + self.downsample(x))


class ResNet18(nn.Module):
    """The preset resnet18: the CIFAR form, with a 3x3 stem and no max-pooling."""

    def __init__(self, classes=10):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64)
        channels = 64
        for stage in range(4):
            width, stride = 64 << stage, 1 if stage == 0 else 2
            blocks = [BasicBlock(channels, width, stride), BasicBlock(width, width, 1)]
            setattr(self, f"layer{stage + 1}", nn.Sequential(*blocks))
            channels = width
        self.fc = nn.Linear(512, classes)

    def forward(self, x):
        x = torch.relu(self.bn1(self.conv1(x)))
        for layer in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = layer(x)
        return self.fc(x.mean((2, 3)))


class ConvGroup(nn.Module):
    def __init__(self, channels_in, channels):
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        # PyTorch's momentum is the share of the new value: the running statistics keep 0.6.
        self.bn1, self.bn2 = (nn.BatchNorm2d(channels, eps=1e-12, momentum=0.4) for _ in range(2))

    def forward(self, x):
        x = nn.functional.gelu(self.bn1(nn.functional.max_pool2d(self.conv1(x), 2)))
        return nn.functional.gelu(self.bn2(self.conv2(x)))


class Airbench94(nn.Module):
    """The preset airbench94, without its initialisers: those are airbench94.py's."""

    def __init__(self, classes=10):
        super().__init__()
        self.whiten = nn.Conv2d(3, 24, 2)
        self.group1, self.group2, self.group3 = ConvGroup(24, 64), ConvGroup(64, 256), ConvGroup(256, 256)
        self.head = nn.Linear(256, classes, bias=False)

    def forward(self, x):
        x = nn.functional.gelu(self.whiten(x))
        for group in (self.group1, self.group2, self.group3):
            x = group(x)
        return self.head(nn.functional.max_pool2d(x, 3).flatten(1)) / 256


NETWORKS = {"cifar-cnn": CifarCnn, "lenet": LeNet, "resnet18": ResNet18, "airbench94": Airbench94}
