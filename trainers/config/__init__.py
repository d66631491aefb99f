"""The configs that a user's space builds. Inside the project, import each name from the file that defines it."""

from trainers.config.architecture import HeadConfig, SharedLayer
from trainers.config.optimizer_config import OptimizerConfig
from trainers.config.train_config import Stage, TrainConfig
from trainers.methods.averaging import AveragingConfig
from trainers.methods.batch_schedules import ONE_TASK_A_STEP, SEVERAL_TASKS_A_STEP
from trainers.methods.bregman import BregmanConfig
from trainers.methods.mlm import MlmConfig
from trainers.methods.simcse import SimcseConfig
from trainers.methods.smart import SmartConfig

__all__ = [
    "ONE_TASK_A_STEP",
    "SEVERAL_TASKS_A_STEP",
    "AveragingConfig",
    "BregmanConfig",
    "HeadConfig",
    "MlmConfig",
    "OptimizerConfig",
    "SharedLayer",
    "SimcseConfig",
    "SmartConfig",
    "Stage",
    "TrainConfig",
]
