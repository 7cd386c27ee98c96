"""Recommendation: two towers, of items by their modalities and of users by number and history."""

from stages.models.tasks.recommend.explicit import RateTask
from stages.models.tasks.recommend.implicit import RecommendTask

__all__ = ["RateTask", "RecommendTask"]
