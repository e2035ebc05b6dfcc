// One fact of the evidence as a pill: an icon for its kind and the fact in a few words.

import { icon } from "./icons.js";
import { date, h, percent, plural, tidy } from "./words.js";

const KINDS = {
  bought_before: ["again", ({ baskets, last_at }) => [baskets && `in ${plural(baskets, "basket")}`, last_at && `last ${date(last_at)}`]],
  similar_to_bought: ["near", ({ title }) => [title && `near ${title}`]],
  favourite_category: ["heart", ({ category, share }) => [tidy(category), share && percent(share)]],
  popular_now: ["trend", ({ users_28d }) => [users_28d && `${plural(users_28d, "buyer")} in 28 days`]],
  interest: ["spark", () => ["fits the interests"]],
  on_promotion: ["tag", () => ["on promotion"]],
};

export function evidence(fact) {
  const [name, words] = KINDS[fact.kind] ?? ["fact", () => []];
  const known = words(fact).filter(Boolean);
  const text = known.length ? known.join(", ") : fact.kind.replaceAll("_", " ");
  const all = Object.entries(fact).filter(([key]) => key !== "kind").map(([key, value]) => `${key}: ${value}`);
  return h("li", { title: [fact.kind, ...all].join("\n") }, icon(name), text);
}
