// Elements for the page's data. No state, no fetching.

import { contributions } from "./contributions.js";
import { evidence } from "./evidence.js";
import { icon } from "./icons.js";
import { h, money, percent, plural, tidy, weekday, words } from "./words.js";

const ITEMS_SHOWN = 6; // of one basket, before "more"

const MISSING = {
  unknown_user: ["New here", "There is no data of this id, so the list shows what is popular now."],
  no_history: ["No history yet", "Without a history the list shows what is popular now."],
  user_state_unavailable: ["Not personal", "The online feature database did not answer, so the list shows what is popular now."],
  stale_features: ["Features are old", "The user features are older than the model: recent events may be missing."],
  impression_not_logged: ["Not logged", "The log of impressions could not store this list."],
};

export function notices(missing) {
  return missing.map((label) => {
    const [title, text] = MISSING[label] ?? [tidy(label.replaceAll("_", " ").toUpperCase()), "This part of the data was missing when the list was made."];
    return notice("info", title, text, h("code", {}, label));
  });
}

export function failure(error, again) {
  const title = { 0: "No answer", 503: "Not ready yet" }[error.status] ?? "That did not work";
  const button = h("button", { type: "button", class: "small" }, "Try again");
  button.addEventListener("click", again);
  return notice(error.status === 503 ? "wait" : "alert", title, error.message, button);
}

export const emptyList = () =>
  notice("search", `Choose a ${words.user}`, "Type an id above to see the history, the interests and the recommendations.");

function notice(kind, title, text, ...more) {
  return h("div", { class: `notice ${kind}` }, icon(kind), h("div", {}, h("b", {}, title), h("p", {}, text)), ...more);
}

export function skeletons(n) {
  return Array.from({ length: n }, () => h("li", { class: "card skeleton", "aria-hidden": "true" }, h("i"), h("i"), h("i")));
}

export function cards(items, details, registry) {
  return items.map((item) => {
    const about = details[item.item_id] ?? {};
    const path = [about.department, about.category].filter(Boolean).map(tidy).join(" › ");
    const chance = item.probability !== null && `${percent(item.probability)} likely`;
    const labels = (about.labels ?? []).map(tidy).join(", ");
    const kind = [path, labels, about.brand && `${tidy(about.brand)} brand`, chance].filter(Boolean).join(" · ");
    return h(
      "li",
      { class: "card" },
      h("span", { class: "rank", "aria-label": `Rank ${item.rank}` }, `${item.rank}`),
      h("div", {}, h("h3", {}, item.title), kind ? h("p", { class: "quiet" }, kind) : null),
      about.price ? h("span", { class: "price" }, money(about.price)) : null,
      h(
        "div",
        { class: "why" },
        item.reason ? h("p", {}, item.reason) : null,
        h("ul", { class: "evidence", "aria-label": "Evidence" }, ...item.evidence.map(evidence)),
        contributions(item.contributions, registry),
      ),
    );
  });
}

export function profile({ summary, baskets, interests }) {
  if (!summary) return [notice("search", "No history", `The first ${words.basket} will appear here after the next run.`)];
  const facts = [
    [summary.baskets.toLocaleString("en"), `${words.basket}s`],
    [summary.items.toLocaleString("en"), `${words.item}s`],
    ...(summary.amount ? [[money(Math.round(summary.amount)).replace(".00", ""), "spent"]] : []),
  ];
  return [
    h("dl", { class: "facts" }, ...facts.map(([value, name]) => h("div", {}, h("dt", {}, name), h("dd", {}, value)))),
    ...(interests.length ? [h("h3", { class: "sub" }, "Interests"), bars(interests)] : []),
    h("h3", { class: "sub" }, `Latest ${words.basket}s`),
    ...baskets.map(basket),
  ];
}

function bars(interests) {
  const longest = interests[0].share;
  return h(
    "ul",
    { class: "bars" },
    ...interests.map(({ name, share }) => {
      const bar = h("i", { "aria-hidden": "true" });
      bar.style.inlineSize = `${(100 * share) / longest}%`;
      return h("li", {}, h("span", {}, tidy(name)), h("span", { class: "figure" }, percent(share)), bar);
    }),
  );
}

function basket({ latest_at: latestAt, amount, items }, place) {
  const more = items.slice(ITEMS_SHOWN);
  const summary = h(
    "summary",
    {},
    h("b", {}, weekday(latestAt)),
    h("span", { class: "quiet" }, plural(items.length, words.item)),
    amount ? h("span", { class: "figure" }, money(amount)) : null,
  );
  const folded = more.length
    ? h("details", { class: "more" }, h("summary", {}, `${more.length} more`), h("ul", {}, ...more.map(line)))
    : null;
  const shown = h("ul", {}, ...items.slice(0, ITEMS_SHOWN).map(line));
  return h("details", { class: "basket", ...(place < 2 && { open: "" }) }, summary, shown, folded);
}

function line({ title, category, quantity, amount }) {
  return h(
    "li",
    {},
    h("span", {}, title, h("small", {}, tidy(category) ?? "")),
    h("span", { class: "figure" }, quantity > 1 ? h("small", {}, `${quantity} × `) : null, amount ? money(amount) : ""),
  );
}
