"""All campaigns by name."""

from __future__ import annotations

from collections.abc import Mapping

from stress import disks, kills, misdeeds, slides, texts
from stress.verdicts import Campaign

CAMPAIGNS: Mapping[str, Campaign] = {
    campaign.name: campaign
    for campaign in (slides.CAMPAIGN, texts.CAMPAIGN, disks.CAMPAIGN, kills.CAMPAIGN, misdeeds.CAMPAIGN)
}
