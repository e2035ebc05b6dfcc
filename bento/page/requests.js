// Calls the service with JSON; an error carries the service's own text.

export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status; // HTTP status; 0 when there was no answer
  }
}

export async function request(path, { body, signal } = {}) {
  let response;
  try {
    response = await fetch(path, {
      signal,
      ...(body && { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) }),
    });
  } catch {
    throw new Refused(0, "The service does not answer.");
  }
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) {
    const words = answer.problems?.map(({ problem, cure }) => `${problem} ${cure}`).join(" ") ?? answer.error;
    throw new Refused(response.status, words ?? `The service answered ${response.status}.`);
  }
  return answer;
}
