"""All campaigns by name."""

from __future__ import annotations

from stress import disks, kills, misdeeds, shards, slides, texts
from stress.verdicts import Campaign

_ALL = (slides.CAMPAIGN, texts.CAMPAIGN, disks.CAMPAIGN, kills.CAMPAIGN, shards.CAMPAIGN, misdeeds.CAMPAIGN)
CAMPAIGNS: dict[str, Campaign] = {campaign.name: campaign for campaign in _ALL}
