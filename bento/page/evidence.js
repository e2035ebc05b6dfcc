// One fact of the evidence as a pill: an icon for its kind and the fact in a few words.

import { icon } from "./icons.js";
import { date, h, percent, plural, tidy } from "./words.js";

const KINDS = {
  bought_before: [
    "again",
    ({ times, last_bought: last, usual_gap_days: gap }) => [
      times === 1 ? "bought once" : `bought ${plural(times, "time")}`,
      gap && `every ${gap === 1 ? "day" : `${gap} days`}`,
      `last ${date(last)}`,
    ],
  ],
  similar_to_bought: ["near", ({ title }) => [`goes with ${title}`]],
  favourite_category: ["heart", ({ category, share }) => [`${tidy(category)}: ${percent(share)} of purchases`]],
  interest: ["spark", ({ rank }) => [`no. ${rank} for the latest taste`]],
  on_promotion: ["tag", ({ stores_share: share }) => [`promoted in ${percent(share)} of stores`]],
  popular_now: ["trend", ({ rank, buyers_28d: buyers }) => [`no. ${rank} of all`, `${plural(buyers, "buyer")} in 28 days`]],
};

export function evidence(fact) {
  const [name, words] = KINDS[fact.kind] ?? ["fact", () => [fact.kind.replaceAll("_", " ")]];
  const facts = Object.entries(fact).map(([key, value]) => `${key}: ${value}`);
  return h("li", { title: facts.join("\n") }, icon(name), words(fact).filter(Boolean).join(", "));
}
