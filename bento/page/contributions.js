// What moved an item's score, by family of features, as bars to the right (more) and the left (less).

import { h } from "./words.js";

const FAMILIES = [
  [/^(baskets|quantity|days_since|mean_gap|due|long|short|item_(recent|baskets_since|last_gap))/, "Habit with this item"],
  [/^(kind|category)_/, "Habit with its kind"],
  [/^item_to_item_/, "Goes with what was chosen"],
  [/^interest_/, "Latest taste"],
  [/^(personal_frequency)_/, "Habit with this item"],
  [/^text_neighbours_/, "Reads alike"],
  [/^(popularity_|item_)/, "How it does with everyone"],
  [/^price_/, "Price"],
  [/^user_/, "The user"],
];

export function contributions(shares) {
  const families = new Map();
  for (const [feature, share] of Object.entries(shares ?? {})) {
    if (feature === "base") continue;
    const name = FAMILIES.find(([pattern]) => pattern.test(feature))?.[1] ?? "Other";
    const family = families.get(name) ?? { sum: 0, parts: [] };
    family.sum += share;
    family.parts.push(`${feature}: ${share.toFixed(3)}`);
    families.set(name, family);
  }
  if (!families.size) return null;
  const sorted = [...families].sort(([, a], [, b]) => Math.abs(b.sum) - Math.abs(a.sum));
  const longest = Math.abs(sorted[0][1].sum) || 1;
  return h(
    "details",
    { class: "more" },
    h("summary", {}, "What moved the score"),
    h("ul", { class: "shares" }, ...sorted.map(([name, { sum, parts }]) => line(name, sum, longest, parts))),
  );
}

function line(name, sum, longest, parts) {
  const bar = h("i", { "aria-hidden": "true", class: sum < 0 ? "less" : "plus" });
  bar.style.inlineSize = `${(50 * Math.abs(sum)) / longest}%`;
  const figure = `${sum < 0 ? "−" : "+"}${Math.abs(sum).toFixed(2)}`;
  return h("li", { title: parts.slice(0, 12).join("\n") }, h("span", {}, name), h("span", { class: "figure" }, figure), bar);
}
