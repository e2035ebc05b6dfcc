// Values become text here, and elements are made here (text nodes only: no value is ever read as HTML).

// The dataset's own words (zhiyin/language/words.py), as the service sends them with its status.
export const words = { user: "user", item: "item", basket: "basket", currency: null, promotion: "on promotion" };

export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

const moment = (value) => new Date(typeof value === "number" ? value * 1000 : /[zZ+]|T.*-/.test(value) ? value : `${value}Z`);

export const date = (value) =>
  moment(value).toLocaleDateString("en-GB", { day: "numeric", month: "short", year: "numeric", timeZone: "UTC" });

export const day = (value) =>
  moment(value).toLocaleDateString("en-GB", { day: "numeric", month: "short", timeZone: "UTC" });

export const weekday = (value) =>
  moment(value).toLocaleDateString("en-GB", {
    weekday: "short", day: "numeric", month: "short", year: "numeric", timeZone: "UTC",
  });

export const money = (value) =>
  value.toLocaleString("en-US", words.currency ? { style: "currency", currency: words.currency } : {});

export const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);

export const percent = (share) => `${(100 * share).toFixed(share < 0.1 ? 1 : 0)} %`;

export const plural = (n, noun) => `${n.toLocaleString("en")} ${noun}${n === 1 ? "" : "s"}`;

// "WALL LAMPS" → "Wall lamps"; what already has lower case stays as it is.
export function tidy(name) {
  if (!name || /[a-z]/.test(name)) return name;
  return name.charAt(0) + name.slice(1).toLowerCase();
}
