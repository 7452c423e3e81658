"""All campaigns by name."""

from __future__ import annotations

from stress import disks, kills, misdeeds, slides, texts
from stress.verdicts import Campaign

CAMPAIGNS: dict[str, Campaign] = {
    campaign.name: campaign
    for campaign in (slides.CAMPAIGN, texts.CAMPAIGN, disks.CAMPAIGN, kills.CAMPAIGN, misdeeds.CAMPAIGN)
}
