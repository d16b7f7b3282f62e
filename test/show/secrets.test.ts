/** Which environment variables look like secrets. */

import { describe, expect, it } from "vitest";
import { MASK, maskVariable } from "../../src/show/secrets.js";

const masks = (name: string) => maskVariable(`${name}=x`) === `${name}=${MASK}`;

describe("variables", () => {
  it.each(
    "API_TOKEN DB_PASSWORD DB_PASS PASS SSHPASS PASS_FILE GPG_PASSPHRASE PASSWD MYSQL_PWD STRIPE_KEY API_KEY AWS_SECRET_ACCESS_KEY AUTH HTTP_AUTHORIZATION XAUTHORITY COOKIE PRIVATE_PEM".split(
      " ",
    ),
  )("%s is masked", (name) => {
    expect(masks(name)).toBe(true);
    expect(masks(name.toLowerCase())).toBe(true);
  });

  it.each(
    "GIT_AUTHOR_NAME GIT_AUTHOR_EMAIL TOX_TESTENV_PASSENV PASSTHROUGH PWD OLDPWD HOME KEYBOARD".split(
      " ",
    ),
  )("%s is shown", (name) => {
    expect(masks(name)).toBe(false);
  });
});
