"""The home page of the deployed stack, in Chromium: users sign in and watch their jobs."""

import secrets

import pyotp
from playwright.sync_api import Page, Route, expect

from local import users
from tests.conftest import contract
from tests.e2e.conftest import PASSWORD, TENANTS, Deployed
from tests.e2e.page.conftest import sign_in


def test_a_user_sees_own_jobs_live_and_no_others(page: Page, deployed: Deployed) -> None:
    ann, bob = TENANTS
    sign_in(page, ann, PASSWORD + "x")
    expect(page.get_by_role("alert")).to_have_text("Incorrect username or password.")
    sign_in(page, ann, PASSWORD)
    expect(page.get_by_role("status")).to_have_text("live")
    mine, other = (
        deployed.call("POST", "/api/v1/jobs", contract("job") | {"userid": user, "input": f"s3://none/{user}.mp4"})[1]
        for user in (ann, bob)
    )
    expect(page.get_by_role("row").filter(has_text=mine[0]["jobid"][:8]).filter(has_text="JobFailed")).to_be_visible()
    deployed.until(other[0]["jobid"], "failed")
    expect(page.get_by_text(other[0]["jobid"][:8])).to_have_count(0)
    assert PASSWORD not in page.content()
    assert page.evaluate("Object.values(localStorage).join()").count(".") == 0


def test_a_new_user_sets_a_password_and_stays_signed_in(page: Page, deployed: Deployed) -> None:
    pool, name = deployed.stack["UserPool"], f"new-{secrets.token_hex(4)}"
    client = users.cognito(deployed.place)
    client.admin_create_user(
        UserPoolId=pool, Username=name, TemporaryPassword=f"{PASSWORD}-t", MessageAction="SUPPRESS"
    )
    sign_in(page, name, f"{PASSWORD}-t")
    page.get_by_label("new password").fill(f"{PASSWORD}-own")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("status")).to_have_text("live")
    page.reload()
    expect(page.get_by_role("status")).to_have_text("live")


def test_a_user_with_an_authenticator_enters_its_code(page: Page, deployed: Deployed) -> None:
    pool, name = deployed.stack["UserPool"], f"careful-{secrets.token_hex(4)}"
    client = users.cognito(deployed.place)
    users.make(client, pool, name, PASSWORD, [])
    signed_in = client.initiate_auth(
        ClientId=deployed.stack["UserPoolClient"],
        AuthFlow="USER_PASSWORD_AUTH",
        AuthParameters={"USERNAME": name, "PASSWORD": PASSWORD},
    )["AuthenticationResult"]["AccessToken"]
    codes = pyotp.TOTP(client.associate_software_token(AccessToken=signed_in)["SecretCode"])
    client.verify_software_token(AccessToken=signed_in, UserCode=codes.now())
    client.set_user_mfa_preference(
        AccessToken=signed_in, SoftwareTokenMfaSettings={"Enabled": True, "PreferredMfa": True}
    )
    sign_in(page, name, PASSWORD)
    page.get_by_label("authenticator").fill(codes.now())
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("status")).to_have_text("live")


def test_an_expired_token_is_renewed_without_a_form(page: Page) -> None:
    sign_in(page, TENANTS[0])
    expect(page.get_by_role("status")).to_have_text("live")
    refused: list[str] = []

    def refuse_first(route: Route) -> None:
        if refused:
            route.continue_()
        else:
            refused.append(route.request.headers["authorization"])
            route.fulfill(status=401, json={})

    page.route("**/api/v1", refuse_first)
    asked = "async () => (await (await import('/static/page/api.js')).ask('GET', '/api/v1')).userID"
    assert page.evaluate(asked) == TENANTS[0]
    assert len(refused) == 1
    expect(page.get_by_role("button", name="Sign in")).to_be_hidden()
