"""All campaigns by name."""

from __future__ import annotations

from stress import disks, kills, misdeeds, reading, shards, slides, texts
from stress.verdicts import Campaign

_USUAL = (slides.CAMPAIGN, texts.CAMPAIGN, disks.CAMPAIGN, kills.CAMPAIGN, shards.CAMPAIGN, misdeeds.CAMPAIGN)
USUAL = tuple(campaign.name for campaign in _USUAL)
CAMPAIGNS: dict[str, Campaign] = {campaign.name: campaign for campaign in (*_USUAL, *reading.CAMPAIGNS)}
