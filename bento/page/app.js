// Wires the page: the address bar holds the state (?user=…&k=…), every change of it is a load.

import { request } from "./requests.js";
import { cards, emptyList, failure, notices, profile, skeletons } from "./view.js";
import { capital, date, h, plural, words } from "./words.js";

const $ = (id) => document.getElementById(id);
const RETRY_MS = 3000;
let loading = new AbortController();
let retry;

function state() {
  const query = new URLSearchParams(location.search);
  const k = [5, 10, 20, 50].includes(Number(query.get("k"))) ? Number(query.get("k")) : 10;
  return { user: query.get("user") ?? "", k };
}

function go(change) {
  const next = { ...state(), ...change };
  const query = new URLSearchParams({ user: next.user });
  if (next.k !== 10) query.set("k", next.k);
  history.pushState(null, "", `?${query}`);
  load();
}

async function load() {
  clearTimeout(retry);
  loading.abort();
  loading = new AbortController();
  const { user, k } = state();
  $("user").value = user;
  document.querySelector(`#length input[value="${k}"]`).checked = true;
  for (const button of document.querySelectorAll(".samples button")) {
    button.setAttribute("aria-pressed", String(button.value === user));
  }
  document.body.classList.toggle("nobody", !user);
  if (!user) return showNothing();
  document.title = `${user} · Zhiyin`;
  $("list-title").textContent = `Recommended to ${words.user} ${user}`;
  $("curl").textContent = curl(user, k);
  $("code").hidden = false;
  $("notices").replaceChildren();
  $("cards").replaceChildren(...skeletons(Math.min(k, 6)));
  $("list").setAttribute("aria-busy", "true");
  $("known").setAttribute("aria-busy", "true");
  const { signal } = loading;
  await showList(user, k, signal); // alone, since its time is shown
  await Promise.all([showProfile(user, signal), showModel()]);
}

async function showList(user, k, signal) {
  const started = performance.now();
  try {
    const body = { user_id: user, k, explain: "text", contributions: true };
    const answer = await request("/recommend", { signal, body });
    const took = Math.round(performance.now() - started);
    const ids = answer.items.map((item) => ["id", item.item_id]);
    // The list is shown without category, price and labels where these fail.
    const [details, registry] = await Promise.all([
      request(`/page/items?${new URLSearchParams(ids)}`, { signal }).catch(() => ({})),
      request("/features", { signal }).catch(() => ({ families: [], features: [] })),
    ]);
    if (signal.aborted) return;
    $("notices").replaceChildren(...notices(answer.missing));
    $("cards").replaceChildren(...cards(answer.items, details, registry));
    $("list-note").textContent = `${plural(answer.items.length, words.item)}, answered in ${took} ms`;
  } catch (error) {
    if (signal.aborted) return;
    $("cards").replaceChildren();
    $("list-note").textContent = "";
    $("notices").replaceChildren(failure(error, load));
    if (error.status === 503) retry = setTimeout(load, RETRY_MS);
  } finally {
    if (!signal.aborted) $("list").removeAttribute("aria-busy");
  }
}

async function showProfile(user, signal) {
  try {
    const known = await request(`/page/user?${new URLSearchParams({ user_id: user })}`, { signal });
    if (signal.aborted) return;
    $("known-note").textContent = known.summary
      ? `First ${words.basket}: ${date(known.summary.first_at)}`
      : "There is no data of this id";
    $("profile").replaceChildren(...profile(known));
  } catch (error) {
    if (signal.aborted) return;
    $("known-note").textContent = "";
    $("profile").replaceChildren(failure(error, load));
  } finally {
    if (!signal.aborted) $("known").removeAttribute("aria-busy");
  }
}

async function showModel() {
  try {
    const { model_version: version, as_of: asOf, items, words: own } = await request("/page/status");
    Object.assign(words, own);
    $("choose-title").textContent = `What would this ${words.user} like next?`;
    $("user-label").textContent = `${capital(words.user)} id`;
    $("model").replaceChildren(
      ...(version
        ? [
            h("span", { class: "dot" }),
            h("span", {}, "Model ", h("code", { title: version }, version.slice(0, 12))),
            h("span", {}, `as of ${date(asOf)}`),
            h("span", { class: "wide" }, plural(items, words.item)),
          ]
        : [h("span", { class: "dot off" }), h("span", {}, "No model yet")]),
    );
  } catch {
    $("model").replaceChildren(h("span", { class: "dot off" }), h("span", {}, "The service does not answer"));
  }
}

function showNothing() {
  document.title = "Zhiyin";
  $("list-title").textContent = "Recommended";
  $("known-note").textContent = $("list-note").textContent = "";
  $("notices").replaceChildren(emptyList());
  $("cards").replaceChildren();
  $("profile").replaceChildren();
  showModel();
}

function curl(user, k) {
  const body = JSON.stringify({ user_id: user, k, explain: "text" }).replaceAll("'", "'\\''");
  return `curl ${location.origin}/recommend \\\n  -H 'content-type: application/json' \\\n  -d '${body}'`;
}

async function start() {
  $("search").addEventListener("submit", (event) => {
    event.preventDefault();
    const user = $("user").value.trim();
    if (user) go({ user });
  });
  $("length").addEventListener("change", (event) => go({ k: Number(event.target.value) }));
  $("copy").addEventListener("click", async () => {
    await navigator.clipboard.writeText($("curl").textContent);
    $("copy").textContent = "Copied";
    setTimeout(() => ($("copy").textContent = "Copy"), 1500);
  });
  addEventListener("popstate", load);

  await showModel(); // it brings the dataset's words
  const { users } = await request("/page/users").catch(() => ({ users: [] }));
  $("samples").hidden = users.length === 0;
  $("samples").querySelector("ul").replaceChildren(
    ...users.map(({ user_id: id, lines, days }) => {
      const note = `${plural(lines, "event")} on ${plural(days, "day")} of the last four weeks`;
      const button = h("button", { type: "button", value: id, title: note }, h("b", {}, id), h("span", {}, `${lines}`));
      button.setAttribute("aria-label", `${capital(words.user)} ${id}: ${note}`);
      button.addEventListener("click", () => go({ user: id }));
      return h("li", {}, button);
    }),
  );
  if (!state().user && users.length) {
    history.replaceState(null, "", `?${new URLSearchParams({ user: users[0].user_id })}`);
  }
  load();
}

start();
