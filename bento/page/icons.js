// Line icons on a 24 × 24 grid.

const PATHS = {
  again: "M4 11a8 8 0 0 1 14-5l2 2M20 3v5h-5M20 13a8 8 0 0 1-14 5l-2-2M4 21v-5h5",
  heart: "M12 20s-7.5-4.6-7.5-10A4.3 4.3 0 0 1 12 7a4.3 4.3 0 0 1 7.5 3c0 5.4-7.5 10-7.5 10Z",
  trend: "M4 17l5.5-6 4 4L20 7M15 7h5v5",
  tag: "M4 4h8l8 8-8 8-8-8V4ZM8.5 8.5h.01",
  near: "M9.5 14.5l5-5M8 11l-2.5 2.5a3.5 3.5 0 0 0 5 5L13 16M16 13l2.5-2.5a3.5 3.5 0 0 0-5-5L11 8",
  spark: "M12 4l1.8 5.2L19 11l-5.2 1.8L12 18l-1.8-5.2L5 11l5.2-1.8L12 4Z",
  fact: "M12 8h.01M11 12h1v4h1",
  info: "M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18ZM12 8h.01M11.5 11.5h.5V16h.5",
  wait: "M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18ZM12 7v5l3 2",
  alert: "M12 4 2.8 20h18.4L12 4ZM12 10v4.5M12 17.3h.01",
  search: "M11 4.5a6.5 6.5 0 1 0 0 13 6.5 6.5 0 0 0 0-13ZM16 16l4.5 4.5",
};

export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  path.setAttribute("d", PATHS[name] ?? PATHS.fact);
  svg.append(path);
  return svg;
}
