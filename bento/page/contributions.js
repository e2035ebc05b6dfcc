// What each family of features added to an item's score, as bars to the right (more) and to the left (less).

import { h } from "./words.js";

// `registry`: the answer of GET /features, whose families and labels are shown.
export function contributions(shares, registry) {
  const known = new Map(registry.features.map((feature) => [feature.name, feature]));
  const labels = new Map(registry.families.map(({ name, label }) => [name, label]));
  const families = new Map();
  for (const [name, share] of Object.entries(shares ?? {})) {
    if (name === "base") continue;
    const { family, label } = known.get(name) ?? { family: name, label: name };
    const sum = families.get(family) ?? { share: 0, parts: [] };
    sum.share += share;
    sum.parts.push(`${label}: ${share.toFixed(3)}`);
    families.set(family, sum);
  }
  if (!families.size) return null;
  const sorted = [...families].sort(([, a], [, b]) => Math.abs(b.share) - Math.abs(a.share));
  const longest = Math.abs(sorted[0][1].share) || 1;
  return h(
    "details",
    { class: "more" },
    h("summary", {}, "What moved the score"),
    h("ul", { class: "shares" }, ...sorted.map(([family, sum]) => line(labels.get(family) ?? family, sum, longest))),
  );
}

function line(label, { share, parts }, longest) {
  const bar = h("i", { "aria-hidden": "true", class: share < 0 ? "less" : "plus" });
  bar.style.inlineSize = `${(50 * Math.abs(share)) / longest}%`;
  const figure = `${share < 0 ? "−" : "+"}${Math.abs(share).toFixed(2)}`;
  return h("li", { title: parts.slice(0, 12).join("\n") }, h("span", {}, label), h("span", { class: "figure" }, figure), bar);
}
