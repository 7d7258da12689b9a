"""What others say of the known networks."""

PARAMETERS = {  # of the papers, of torchvision's pages, of Keras's (MobileNet v1)
    "lenet5": 61_706, "lenet_caffe": 431_080, "alexnet": 60_965_224,
    "alexnet_torchvision": 61_100_840, "vgg16": 138_357_544, "vgg19": 143_667_240,
    "googlenet": 6_998_552, "googlenet_torchvision": 6_624_904, "inception_v3": 23_834_568,
    "resnet18": 11_689_512, "resnet50": 25_557_032, "resnet20": 269_722,
    "squeezenet1_0": 1_248_424, "squeezenet1_1": 1_235_496, "mobilenet_v1": 4_231_976,
    "mobilenet_v2": 3_504_872,
}
