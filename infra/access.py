"""How callers prove who they are: Cognito's user pool, another issuer's tokens, signatures of IAM, or not at all."""

from typing import Any

from aws_cdk import Annotations, Duration, RemovalPolicy, Stack
from aws_cdk import aws_apigatewayv2_authorizers as authorizers
from aws_cdk import aws_cognito as cognito
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from elasticrecode.access.callers import COGNITO_GROUPS, COGNITO_USER, OPERATORS
from elasticrecode.contract.auth import SignIn
from infra.api_body import Protection
from infra.functions import Functions
from infra.options import Options, listed
from infra.storage import Storage

_CACHED_SECONDS = 300
"""Seconds for which API Gateway caches the answer of an authorizer."""


class Access(Construct):
    """The user pool with its client, and what protects both APIs.

    `methods` protects the methods of the REST API, `socket` each new WebSocket; without protection `socket` is None.
    `sign_in` is where people get tokens of Cognito, `tokens` are the fields of `Wiring` about them.
    """

    def __init__(self, scope: Construct, id_: str, options: Options) -> None:
        super().__init__(scope, id_)
        self._kind = options.auth
        self.methods = Protection()
        self.socket: authorizers.WebSocketLambdaAuthorizer | None = None
        self.sign_in: SignIn | None = None
        self.outputs: dict[str, str] = {}
        self.tokens: dict[str, Any] = {
            "issuer": options.jwtIssuer,
            "jwks_url": "",
            "audience": listed(options.jwtAudience),
            "user_claim": options.jwtUserClaim,
            "groups_claim": options.jwtGroupsClaim,
        }
        if options.auth == "none":
            Annotations.of(self).add_warning_v2(
                "ElasticRecode:open",
                "auth=none: anyone who reaches the API can submit, see and cancel every job and change presets.",
            )
        if options.auth == "cognito":
            self._use_cognito(options)

    def serve(self, functions: Functions, storage: Storage) -> dict[str, lambda_.Function]:
        """Make the functions; returns those that answer requests, by name."""
        tickets = functions.make("tickets")
        storage.connections.grant(tickets, "dynamodb:PutItem")
        storage.let_count(tickets)
        if self._kind != "none":
            authorize = functions.make("authorize")
            storage.connections.grant(authorize, "dynamodb:DeleteItem")
            self.socket = authorizers.WebSocketLambdaAuthorizer("Watchers", authorize, identity_source=[])
            if self._kind == "jwt":
                self.methods = Protection.by_function(authorize, _CACHED_SECONDS)
            elif self._kind == "iam":
                self.methods = Protection.by_signature()
        return {"tickets": tickets}

    def _use_cognito(self, options: Options) -> None:
        pool = self._pool(options)
        client = self._client(pool)
        region = Stack.of(self).region
        url = options.cognitoIdp.replace("{region}", region)
        self.sign_in = SignIn(url, client.user_pool_client_id)
        self.tokens |= {
            "issuer": f"https://cognito-idp.{region}.amazonaws.com/{pool.user_pool_id}",
            "jwks_url": f"{url}/{pool.user_pool_id}/.well-known/jwks.json",
            "user_claim": COGNITO_USER,
            "groups_claim": COGNITO_GROUPS,
        }
        self.outputs = {"UserPool": pool.user_pool_id, "UserPoolClient": client.user_pool_client_id}
        self.methods = Protection.by_pool(pool.user_pool_arn, _CACHED_SECONDS)

    def _pool(self, options: Options) -> cognito.IUserPool:
        """The pool of the option `userPool`, or a new one in which only administrators create users."""
        if options.userPool:
            return cognito.UserPool.from_user_pool_id(self, "Pool", options.userPool)
        pool = cognito.UserPool(
            self,
            "Pool",
            self_sign_up_enabled=False,
            sign_in_case_sensitive=True,
            password_policy=cognito.PasswordPolicy(
                min_length=12, require_lowercase=True, require_uppercase=True, require_digits=True, require_symbols=True
            ),
            mfa=cognito.Mfa.OPTIONAL,
            mfa_second_factor=cognito.MfaSecondFactor(sms=False, otp=True),
            account_recovery=cognito.AccountRecovery.EMAIL_ONLY,
            deletion_protection=options.keepData,
            # Not kept.outlives: a rollback cannot delete a protected pool. Its generated name is in nobody's way.
            removal_policy=RemovalPolicy.RETAIN if options.keepData else RemovalPolicy.DESTROY,
        )
        cognito.UserPoolGroup(
            self, "Operators", user_pool=pool, group_name=OPERATORS, description="They act for every user."
        )
        return pool

    def _client(self, pool: cognito.IUserPool) -> cognito.UserPoolClient:
        """The client with which the home page signs in, and people with the AWS CLI."""
        return cognito.UserPoolClient(
            self,
            "Client",
            user_pool=pool,
            auth_flows=cognito.AuthFlow(user_srp=True, user_password=True),
            disable_o_auth=True,
            prevent_user_existence_errors=True,
            id_token_validity=Duration.hours(1),
            access_token_validity=Duration.hours(1),
            refresh_token_validity=Duration.days(30),
        )
