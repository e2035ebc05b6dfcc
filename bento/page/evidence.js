// One fact of the evidence as a pill: an icon for its kind and the fact in a few words.

import { icon } from "./icons.js";
import { day, h, percent, tidy, words } from "./words.js";

const KINDS = {
  chosen_before: ["again", ({ times, last_chosen: last }) => [times === 1 ? "once" : `${times} times`, `last ${day(last)}`]],
  similar_to_chosen: ["near", ({ title }) => [`goes with ${title}`]],
  same_kind: ["near", ({ title }) => [`of the kind of ${title}`]],
  favourite_category: ["heart", ({ category, count, of }) => [tidy(category), `${count} of the last ${of}`]],
  favourite_label: ["heart", ({ label, count, of }) => [tidy(label), `${count} of the last ${of}`]],
  interest: ["spark", ({ titles }) => [`fits ${titles.join(" and ")}`]],
  on_promotion: ["tag", ({ reach }) => [words.promotion.replace("{reach}", percent(reach))]],
  rule: ["tag", ({ rule, action, rank_by_score: rank }) => [`${action}: ${rule}`, `no. ${rank} without`]],
  people_alike: ["trend", ({ rank }) => [`no. ${rank} with people alike`]],
  popular_now: ["trend", ({ rank }) => [`no. ${rank} of all`]],
};

export function evidence(fact) {
  const [name, text] = KINDS[fact.kind] ?? ["fact", () => [fact.kind.replaceAll("_", " ")]];
  const facts = Object.entries(fact).map(([key, value]) => `${key}: ${value}`);
  return h("li", { title: facts.join("\n") }, icon(name), text(fact).filter(Boolean).join(", "));
}
