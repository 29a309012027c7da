import { call } from "./api.js";

const form = document.querySelector("[data-login]");
const [fieldset, error] = [form.querySelector("fieldset"), form.querySelector("[data-error]")];
fieldset.disabled = false;
form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const body = { key: form.elements.key.value };
  error.hidden = fieldset.disabled = true; // the server may ask to wait
  try {
    await call("POST", "/session", { body });
    location.reload();
  } catch ({ message }) {
    error.hidden = fieldset.disabled = false;
    error.textContent = message;
    form.elements.key.focus();
  }
});
