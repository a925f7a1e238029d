"""Who may call: Cognito's user pool or another issuer's tokens, signatures of IAM, or nobody is asked."""

from aws_cdk import Annotations, Duration, RemovalPolicy, Stack
from aws_cdk import aws_apigateway as rest
from aws_cdk import aws_apigatewayv2_authorizers as authorizers
from aws_cdk import aws_cognito as cognito
from constructs import Construct

from elasticrecode.access.callers import COGNITO_GROUPS, COGNITO_USER, OPERATORS
from elasticrecode.contract import settings
from elasticrecode.contract.auth import SignIn
from infra.functions import Functions
from infra.options import Options, listed
from infra.storage import Storage

_KEPT = Duration.minutes(5)
"""How long API Gateway goes by an authorizer's word."""


class Auth(Construct):
    """`methods` protects the methods of the REST API, `socket` is asked of each new WebSocket; None asks nobody.

    `sign_in` is where people get tokens of Cognito.
    """

    def __init__(self, scope: Construct, id_: str, options: Options, storage: Storage, functions: Functions) -> None:
        super().__init__(scope, id_)
        self.methods = rest.MethodOptions()
        self.socket: authorizers.WebSocketLambdaAuthorizer | None = None
        self.sign_in: SignIn | None = None
        self.outputs: dict[str, str] = {}
        if options.auth == "none":
            Annotations.of(self).add_warning_v2(
                "ElasticRecode:open",
                "auth=none: whoever can reach the API submits, sees and cancels everybody's jobs and changes presets.",
            )
            return
        issuer, jwks_url, audience = options.jwtIssuer, "", listed(options.jwtAudience)
        claims = (options.jwtUserClaim, options.jwtGroupsClaim)
        if options.auth == "cognito":
            pool = self._pool(options)
            client = self._client(pool)
            region = Stack.of(self).region
            issuer = f"https://cognito-idp.{region}.amazonaws.com/{pool.user_pool_id}"
            url = options.cognitoIdp.replace("{region}", region)
            jwks_url = f"{url}/{pool.user_pool_id}/.well-known/jwks.json"
            self.sign_in = SignIn(url, client.user_pool_client_id)
            claims = (COGNITO_USER, COGNITO_GROUPS)
            self.outputs = {"UserPool": pool.user_pool_id, "UserPoolClient": client.user_pool_client_id}
            self.methods = rest.MethodOptions(
                authorization_type=rest.AuthorizationType.COGNITO,
                authorizer=rest.CognitoUserPoolsAuthorizer(
                    self, "Users", cognito_user_pools=[pool], results_cache_ttl=_KEPT
                ),
            )
        table = storage.connections
        function = functions.make(
            "authorize",
            settings.AuthorizeSettings(
                connections_table=table.table_name,
                issuer=issuer,
                jwks_url=jwks_url,
                audience=audience,
                user_claim=claims[0],
                groups_claim=claims[1],
            ),
        )
        table.grant(function, "dynamodb:DeleteItem")
        self.socket = authorizers.WebSocketLambdaAuthorizer("Watchers", function, identity_source=[])
        if options.auth == "jwt":
            self.methods = rest.MethodOptions(
                authorization_type=rest.AuthorizationType.CUSTOM,
                authorizer=rest.RequestAuthorizer(
                    self,
                    "Issuer",
                    handler=function,
                    identity_sources=[rest.IdentitySource.header("Authorization")],
                    results_cache_ttl=_KEPT,
                ),
            )
        if options.auth == "iam":
            self.methods = rest.MethodOptions(authorization_type=rest.AuthorizationType.IAM)

    def _pool(self, options: Options) -> cognito.IUserPool:
        """The pool that is named, or one whose users only its administrators make."""
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
            removal_policy=RemovalPolicy.RETAIN if options.keepData else RemovalPolicy.DESTROY,
        )
        cognito.UserPoolGroup(
            self, "Operators", user_pool=pool, group_name=OPERATORS, description="They act for every user."
        )
        return pool

    def _client(self, pool: cognito.IUserPool) -> cognito.UserPoolClient:
        """What signs in: the home page, and people with the AWS CLI."""
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
