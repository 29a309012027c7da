const form = document.querySelector("[data-login]");
form.querySelector("fieldset").disabled = false;
form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const body = JSON.stringify({ key: form.elements.key.value });
  const response = await fetch("/session", { method: "POST", headers: { "Content-Type": "application/json" }, body });
  if (response.ok) {
    location.reload();
    return;
  }
  const error = form.querySelector("[data-error]");
  error.hidden = false;
  error.textContent = "This is not one of the server's keys.";
});
