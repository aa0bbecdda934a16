"""The names a checkpoint may mention. None of them is ever imported: each becomes an inert placeholder.

The list serves two ends: a file that names anything else is hostile or not a checkpoint, and the names of layers that
edgeai cannot build let it say what the file is instead of refusing it.
"""

from __future__ import annotations

_PLAIN: dict[str, str] = {
    "__builtin__": "getattr set object slice complex frozenset bytearray",
    "builtins": "getattr set object slice complex frozenset bytearray",
    "collections": "OrderedDict defaultdict",
    "copy_reg": "_reconstructor",
    "copyreg": "_reconstructor",
    "pathlib": "Path PurePath PosixPath PurePosixPath WindowsPath PureWindowsPath",
    "pathlib._local": "Path PosixPath WindowsPath",
    "argparse": "Namespace",
    "types": "SimpleNamespace",
    "datetime": "datetime date timedelta",
    "_codecs": "encode",
    "numpy": "dtype ndarray float16 float32 float64 int32 int64 bool_",
    "numpy.core.multiarray": "scalar _reconstruct",
    "numpy._core.multiarray": "scalar _reconstruct",
    "torch": (
        "Size device dtype float16 float32 float64 bfloat16 int8 uint8 int16 int32 int64 bool "
        "HalfStorage FloatStorage DoubleStorage BFloat16Storage LongStorage IntStorage ShortStorage CharStorage "
        "ByteStorage BoolStorage"
    ),
    "torch._utils": "_rebuild_tensor_v2 _rebuild_parameter _rebuild_parameter_with_state",
    "torch.nn.parameter": "Parameter Buffer",
    "torch.serialization": "_get_layout",
}

_TORCH_NN: dict[str, str] = {
    "activation": (
        "SiLU ReLU ReLU6 LeakyReLU Sigmoid Hardswish Softmax Mish GELU PReLU ELU CELU SELU Tanh Hardtanh Hardsigmoid "
        "LogSigmoid Softplus MultiheadAttention"
    ),
    "batchnorm": "BatchNorm2d BatchNorm1d SyncBatchNorm",
    "container": "Sequential ModuleList ModuleDict ParameterList",
    "conv": "Conv1d Conv2d ConvTranspose2d",
    "dropout": "Dropout Dropout2d",
    "flatten": "Flatten",
    "linear": "Linear Identity NonDynamicallyQuantizableLinear",
    "loss": "BCEWithLogitsLoss BCELoss CrossEntropyLoss SmoothL1Loss L1Loss MSELoss NLLLoss KLDivLoss",
    "module": "Module",
    "normalization": "LayerNorm GroupNorm",
    "padding": "ZeroPad2d ConstantPad2d",
    "pooling": "MaxPool2d AvgPool2d AdaptiveAvgPool2d AdaptiveMaxPool2d",
    "sparse": "Embedding",
    "upsampling": "Upsample UpsamplingNearest2d UpsamplingBilinear2d",
}

# What torch.compile and the data-parallel classes put around a network, as torch 2.13 writes it.
_WRAPPERS: dict[str, str] = {
    "torch.nn.parallel.data_parallel": "DataParallel",
    "torch.nn.parallel.distributed": "DistributedDataParallel",
    "torch._dynamo.eval_frame": "OptimizedModule OptimizeContext RunOnlyContext DisableContext",
    "torch._dynamo.convert_frame": "CatchErrorsWrapper ConvertFrame ConvertFrameAssert ConvertFrameBox",
    "torch._dynamo.repro.after_dynamo": "WrapBackendDebug",
    "torch._dynamo.hooks": "Hooks",
    "torch": "_TorchCompileInductorWrapper _TorchCompileWrapper",
    "contextlib": "nullcontext",
    "functools": "partial",
    "torch.nn.utils.prune": (
        "L1Unstructured RandomUnstructured LnStructured RandomStructured CustomFromMask Identity PruningContainer"
    ),
}

_BLOCKS = (
    "DFL HGBlock HGStem Proto Proto26 SPP SPPF SPPELAN C1 C2 C2f C2fAttn C2fCIB C2fPSA C2PSA C3 C3f C3Ghost C3k C3k2 "
    "C3TR C3x A2C2f AAttn ABlock ADown AConv Attention BNContrastiveHead Bottleneck BottleneckCSP CBFuse CBLinear CIB "
    "ContrastiveHead ELAN1 GhostBottleneck ImagePoolingAttn MaxSigmoidAttnBlock PSA PSABlock RealNVP RepBottleneck "
    "RepC3 RepCSP RepNCSPELAN4 RepVGGDW Residual ResNetBlock ResNetLayer SAVPE SCDown SwiGLUFFN TorchVision"
)
_CONVS = (
    "Conv Conv2 ConvTranspose Concat CBAM ChannelAttention DWConv DWConvTranspose2d Focus GhostConv Index LightConv "
    "RepConv SpatialAttention"
)
_HEADS = (
    "Detect Segment Segment26 Classify Pose Pose26 OBB OBB26 Depth SemanticSegment RTDETRDecoder WorldDetect v10Detect "
    "YOLOEDetect YOLOESegment YOLOESegment26 LRPCHead"
)
_TASKS = (
    "BaseModel DetectionModel SegmentationModel SemanticSegmentationModel ClassificationModel PoseModel OBBModel "
    "DepthModel RTDETRDetectionModel WorldModel YOLOEModel YOLOESegModel Ensemble"
)
_LOSSES = (
    "v8DetectionLoss v8SegmentationLoss v8ClassificationLoss v8PoseLoss v8OBBLoss SegmentLoss26 PoseLoss26 DepthLoss26 "
    "SemanticSegmentationLoss TVPDetectLoss TVPSegmentLoss E2EDetectLoss E2ELoss BboxLoss DFLoss RLELoss FocalLoss "
    "VarifocalLoss KeypointLoss RotatedBboxLoss BCEDiceLoss MultiChannelDiceLoss Loss SegLoss ClassificationLoss "
    "PoseLoss"
)
_ASSIGNERS = "TaskAlignedAssigner RotatedTaskAlignedAssigner PoseTaskAlignedAssigner SegTaskAlignedAssigner"

_YOLOV5: dict[str, str] = {
    "models.common": (
        "Bottleneck BottleneckCSP C3 C3Ghost C3SPP C3TR C3x Classify Concat Contract Conv CrossConv DWConv "
        "DWConvTranspose2d Expand Focus GhostBottleneck GhostConv Proto SPP SPPF TransformerBlock TransformerLayer"
    ),
    "models.yolo": "Model BaseModel DetectionModel SegmentationModel ClassificationModel Detect Segment",
    "models.experimental": "CrossConv Ensemble MixConv2d Sum",
}

_ULTRALYTICS: dict[str, str] = {
    "ultralytics.nn.modules": f"{_BLOCKS} {_CONVS} {_HEADS}",  # one flat module before 8.0.90
    "ultralytics.nn.modules.activation": "AGLU",
    "ultralytics.nn.modules.block": _BLOCKS,
    "ultralytics.nn.modules.conv": _CONVS,
    "ultralytics.nn.modules.head": _HEADS,
    "ultralytics.nn.modules.transformer": (
        "AIFI MLP MLPBlock LayerNorm2d TransformerBlock TransformerEncoderLayer TransformerLayer MSDeformAttn "
        "DeformableTransformerDecoder DeformableTransformerDecoderLayer"
    ),
    "ultralytics.nn.tasks": _TASKS,
    "ultralytics.utils": "IterableSimpleNamespace SimpleClass",
    "ultralytics.yolo.utils": "IterableSimpleNamespace SimpleClass",
    "ultralytics.utils.loss": _LOSSES,
    "ultralytics.yolo.utils.loss": _LOSSES,
    "ultralytics.yolo.v8.detect.train": "Loss",
    "ultralytics.yolo.v8.segment.train": "SegLoss",
    "ultralytics.utils.tal": _ASSIGNERS,
    "ultralytics.yolo.utils.tal": _ASSIGNERS,
}


def _expand() -> frozenset[str]:
    torch_nn = {f"torch.nn.modules.{key}": value for key, value in _TORCH_NN.items()}
    package = {f"yolov5.{key}": value for key, value in _YOLOV5.items()}  # as PyPI's yolov5 calls them
    tables = (_PLAIN, torch_nn, _WRAPPERS, _YOLOV5, package, _ULTRALYTICS)
    rows = [(module, names) for table in tables for module, names in table.items()]
    return frozenset(f"{module}.{name}" for module, names in rows for name in names.split())


ALLOWED: frozenset[str] = _expand()

# A name under these that is not in the list is no attack: it belongs to a network made by code newer than the list, or
# by somebody's own.
FAMILIES: tuple[str, ...] = ("ultralytics.", "models.", "yolov5.", "torch.nn.")
