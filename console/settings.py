"""All settings, from the environment only. A wrong value stops the start, all faults listed."""

import sys
from datetime import timedelta
from pathlib import Path
from typing import Literal

import structlog
from pydantic import Field, HttpUrl, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from console.given import (
    addresses,
    credentials,
    database,
    policies,
    public_keys,
    signers,
    words,
)
from console.kept import Kept
from console.trust import Trust

BASE_DIR = Path(__file__).resolve().parent.parent


class Environment(Kept, Trust, BaseSettings):
    """What the console reads from its surroundings. Secrets may come as files: QM_SECRETS_DIR."""

    model_config = SettingsConfigDict(case_sensitive=False, extra="ignore")

    database_url: str
    database_owner_url: str = ""  # migrations and test databases; default: the same
    redis_url: str
    qm_secret_key: str = Field(min_length=32)
    qm_debug: bool = False
    qm_data: Path = BASE_DIR / ".qm"
    qm_allowed_hosts: str = "127.0.0.1,localhost,[::1]"
    qm_console_url: HttpUrl = HttpUrl("http://127.0.0.1:8000")
    qm_gateway_url: HttpUrl = HttpUrl("http://127.0.0.1:8080")
    qm_up_file: Path | None = None  # progress of `make up`, shown on the overview
    qm_environment: str = "sandbox"  # the word in the top bar
    qm_issuer: str = "GPU fleet operator"  # who bills: the issuer in FOCUS files
    qm_close_grace_hours: int = Field(24, ge=0)  # from a month's end until its books may close
    qm_kv_connectors: str = ""  # of vLLM, that releases may use; empty: those that keep salts
    qm_kv_connector_modules: str = ""  # Python modules that a KV connector may be loaded from
    qm_registries: str = ""  # that may be asked what a tag means: name or name=https://address
    qm_registry_credentials: Path | None = None  # JSON {name: "user:password"}
    qm_model_hub: HttpUrl | None = None  # that may be asked what a branch means
    qm_model_hub_token: str = ""
    qm_https: bool = False  # behind TLS: secure cookies, HSTS
    qm_cluster_secrets_dir: Path | None = None  # where registered kubeconfigs are kept
    qm_exports_dir: Path | None = None
    qm_allow_private_delivery: bool = False  # deliver to addresses inside the own network
    qm_mail_host: str = ""  # without it no mail is sent, and pages say so
    qm_mail_port: int = 587
    qm_mail_user: str = ""
    qm_mail_password: str = ""
    qm_mail_security: Literal["starttls", "tls", "none"] = "starttls"
    qm_mail_from: str = "quartermaster@localhost"
    qm_on_call_mails: str = ""  # who is called about rollouts, besides receivers of webhooks
    qm_drill_days: int = Field(90, ge=1)  # then a service's way back wants to be proved again
    qm_call_again_minutes: int = Field(15, ge=1)  # while it stays so and nobody is on it
    qm_api_requests_per_minute: int = Field(1_200, ge=0)  # of a token or person; 0: any number
    qm_api_failures_per_minute: int = Field(60, ge=0)  # wrong credentials of an address; 0: any
    qm_max_body: int = 32 * 1024 * 1024
    qm_log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"

    @field_validator("database_url", "database_owner_url")
    @classmethod
    def is_postgresql(cls, value: str) -> str:
        if value and not value.startswith(("postgresql://", "postgres://")):
            raise ValueError("give a URL that begins with postgresql://")
        return value

    @field_validator("redis_url")
    @classmethod
    def is_redis(cls, value: str) -> str:
        if not value.startswith(("redis://", "rediss://", "unix://")):
            raise ValueError("give a URL that begins with redis://, rediss:// or unix://")
        return value

    @field_validator("qm_registry_credentials")
    @classmethod
    def has_credentials(cls, value: Path | None) -> Path | None:
        credentials(value)
        return value


def load() -> Environment:
    try:
        return Environment()  # type: ignore[call-arg]  # filled from the environment
    except ValidationError as error:
        faults = [f"  {'.'.join(map(str, e['loc'])).upper()}: {e['msg']}" for e in error.errors()]
        sys.exit("The settings are not usable:\n" + "\n".join(faults))


ENV = load()

SECRET_KEY = ENV.qm_secret_key
DEBUG = ENV.qm_debug
ALLOWED_HOSTS = ENV.qm_allowed_hosts.split(",")
ROOT_URLCONF = "console.urls"
ASGI_APPLICATION = "console.asgi.application"
AUTH_USER_MODEL = "tenants.User"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

INSTALLED_APPS = [
    "console",
    "billing",
    "fleet",
    "tenants",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "allauth.usersessions",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "django_htmx",
    "csp",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "console.access.RequestIdMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "console.accounts.SeenMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "console.access.ViewerMiddleware",  # last: opens the viewer's scope around the view
]

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "builtins": ["console.templatetags.qm"],
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "console.shell.context",
            ],
        },
    },
]

DATABASES = {"default": database(ENV.database_url)}
if "migrate" in sys.argv or "sqlmigrate" in sys.argv or "flush" in sys.argv:
    # Tables belong to the owner's role; web and workers connect as a role that owns nothing.
    DATABASES = {"default": database(ENV.database_owner_url or ENV.database_url)}

CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": ENV.redis_url,
        "KEY_PREFIX": "qm:cache",
    }
}
SESSION_ENGINE = "console.sessions"

# --- sign-in -----------------------------------------------------------------
AUTHENTICATION_BACKENDS = ["allauth.account.auth_backends.AuthenticationBackend"]
PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.Argon2PasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]
AUTH_PASSWORD_VALIDATORS = [
    {
        "NAME": "django.contrib.auth.password_validation.MinimumLengthValidator",
        "OPTIONS": {"min_length": 12},
    },
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
]
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "/"
ACCOUNT_LOGOUT_REDIRECT_URL = "/account/login/"
ACCOUNT_ADAPTER = "console.accounts.AccountAdapter"  # nobody signs up by himself
ACCOUNT_USER_MODEL_USERNAME_FIELD = None
ACCOUNT_LOGIN_METHODS = {"email"}
ACCOUNT_SIGNUP_FIELDS = ["email*", "password1*"]
ACCOUNT_EMAIL_VERIFICATION = "none"
ACCOUNT_SESSION_REMEMBER = False
ACCOUNT_REAUTHENTICATION_TIMEOUT = 300
ACCOUNT_RATE_LIMITS = {"login": "60/m/ip", "login_failed": "10/m/ip,5/5m/key"}
MFA_SUPPORTED_TYPES = ["totp", "recovery_codes"]
MFA_TOTP_ISSUER = "Quartermaster"
MFA_ADAPTER = "console.accounts.SecondStepAdapter"  # secrets are kept encrypted
USERSESSIONS_TRACK_ACTIVITY = True
SESSION_COOKIE_AGE = 12 * 3600
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
CSRF_COOKIE_SAMESITE = "Lax"
CSRF_TRUSTED_ORIGINS = [str(ENV.qm_console_url).rstrip("/")]
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE_SSL_REDIRECT = ENV.qm_https
SECURE_HSTS_SECONDS = 31_536_000 if ENV.qm_https else 0
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"

CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'none'"],
        "script-src": ["'self'"],
        "style-src": ["'self'"],
        "img-src": ["'self'", "data:", "blob:"],  # data: Tabler's pictures, blob: chart downloads
        "connect-src": ["'self'"],
        "font-src": ["'self'"],
        "base-uri": ["'none'"],
        "form-action": ["'self'"],
        "frame-ancestors": ["'none'"],
    }
}

# --- API ---------------------------------------------------------------------
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["tenants.api.base.authentication.ViewerAuthentication"],
    "DEFAULT_THROTTLE_CLASSES": ["tenants.api.base.rates.ViewerThrottle"],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["tenants.api.base.parsers.StrictJSONParser"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "tenants.api.base.problems.exception_handler",
    "UNAUTHENTICATED_USER": None,
    "COERCE_DECIMAL_TO_STRING": True,
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
}
SPECTACULAR_SETTINGS = {
    # Of lines and of nodes: the same words.
    "ENUM_NAME_OVERRIDES": {"GpuPaymentEnum": ["on_demand", "reserved", "spot", "owned"]},
    "TITLE": "Quartermaster API",
    "DESCRIPTION": "Tenants, fleet, rollouts and money of shared vLLM deployments. "
    "Errors are RFC 9457 problem documents. Lists page by cursor. Answers to a token carry "
    "`RateLimit` and `RateLimit-Policy`.",
    "VERSION": "1",
    "OAS_VERSION": "3.1.1",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PERMISSIONS": ["rest_framework.permissions.IsAuthenticated"],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "REDOC_DIST": "SIDECAR",
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "COMPONENT_SPLIT_REQUEST": True,
    "PREPROCESSING_HOOKS": ["tenants.api.base.schema.only_v1"],
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "tenants.api.base.schema.add_problems",
    ],
}
DATA_UPLOAD_MAX_MEMORY_SIZE = ENV.qm_max_body
DATA_UPLOAD_MAX_NUMBER_FIELDS = 2000

# --- durable work: the row is the truth, Celery is a bell ----------------------
CELERY_BROKER_URL = ENV.redis_url.replace("unix://", "redis+socket://", 1)
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_TASK_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TASK_TIME_LIMIT = 120
CELERY_TASK_SOFT_TIME_LIMIT = 100
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_WORKER_CANCEL_LONG_RUNNING_TASKS_ON_CONNECTION_LOSS = True
CELERY_WORKER_SOFT_SHUTDOWN_TIMEOUT = 10
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_TASK_DEFAULT_QUEUE = "qm"
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "visibility_timeout": 3600,
    "unacked_restore_interval": 5,
    "socket_keepalive": True,
    "health_check_interval": 25,
    # A bell that cannot be rung is given up at once: the sweep finds the row, nobody waits.
    "max_retries": 1,
    "interval_start": 0,
    "interval_step": 0.1,
    "interval_max": 0.1,
    "socket_connect_timeout": 2,
}
CELERY_TIMEZONE = "UTC"

# --- pages -------------------------------------------------------------------
STATIC_URL = "static/"
STATICFILES_DIRS = [BASE_DIR / "static"]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "console.static_files.VersionedFiles"},
}
WHITENOISE_USE_FINDERS = True  # files are served from the tree: no collect step on one machine
WHITENOISE_MAX_AGE = 3600
USE_TZ = True
TIME_ZONE = "UTC"
LANGUAGE_CODE = "en"
USE_I18N = False
FORM_RENDERER = "console.forms.renderer.Renderer"

# --- the product ---------------------------------------------------------------
QM_DATA = ENV.qm_data
QM_UP_FILE = ENV.qm_up_file
QM_CONSOLE_URL = str(ENV.qm_console_url).rstrip("/")
QM_GATEWAY_URL = str(ENV.qm_gateway_url).rstrip("/")
QM_ENVIRONMENT = ENV.qm_environment
QM_ISSUER = ENV.qm_issuer
QM_CLOSE_GRACE = timedelta(hours=ENV.qm_close_grace_hours)
QM_CLUSTER_SECRETS_DIR = ENV.qm_cluster_secrets_dir or ENV.qm_data / "clusters"
QM_GPU_INTERVAL_DAYS = ENV.qm_gpu_interval_days
QM_USAGE_MONTHS = ENV.qm_usage_months
QM_USAGE_ARCHIVE = ENV.qm_usage_archive
QM_API_REQUESTS_PER_MINUTE = ENV.qm_api_requests_per_minute
QM_API_FAILURES_PER_MINUTE = ENV.qm_api_failures_per_minute
QM_ALLOW_PRIVATE_DELIVERY = ENV.qm_allow_private_delivery
QM_EXPORTS_DIR = ENV.qm_exports_dir or ENV.qm_data / "exports"
EMAIL_HOST = ENV.qm_mail_host
EMAIL_PORT = ENV.qm_mail_port
EMAIL_HOST_USER = ENV.qm_mail_user
EMAIL_HOST_PASSWORD = ENV.qm_mail_password
EMAIL_USE_TLS = ENV.qm_mail_security == "starttls"
EMAIL_USE_SSL = ENV.qm_mail_security == "tls"
EMAIL_TIMEOUT = 20
DEFAULT_FROM_EMAIL = ENV.qm_mail_from
QM_ON_CALL_MAILS = words(ENV.qm_on_call_mails)
QM_DRILL_DAYS = ENV.qm_drill_days
QM_CALL_AGAIN_MINUTES = ENV.qm_call_again_minutes
QM_KV_CONNECTORS = words(ENV.qm_kv_connectors)
QM_KV_CONNECTOR_MODULES = words(ENV.qm_kv_connector_modules)
QM_REGISTRIES = addresses(ENV.qm_registries)
QM_REGISTRY_CREDENTIALS = credentials(ENV.qm_registry_credentials)
QM_MODEL_HUB = str(ENV.qm_model_hub or "").rstrip("/")
QM_MODEL_HUB_TOKEN = ENV.qm_model_hub_token
QM_SIGNATURES = policies(ENV.qm_signatures)
QM_SIGNATURE_KEYS = public_keys(ENV.qm_signature_keys)
QM_SIGSTORE_ROOT = ENV.qm_sigstore_root
QM_SIGNERS = signers(ENV.qm_signers)
QM_MODEL_SIGNATURES = policies(ENV.qm_model_signatures)
QM_MODEL_SIGNATURE_KEYS = public_keys(ENV.qm_model_signature_keys)
QM_MODEL_SIGNERS = signers(ENV.qm_model_signers)
REDIS_URL = ENV.redis_url

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "lines": {
            "()": "structlog.stdlib.ProcessorFormatter",
            "processor": structlog.processors.JSONRenderer(),
            "foreign_pre_chain": [
                structlog.contextvars.merge_contextvars,
                structlog.stdlib.add_log_level,
                structlog.stdlib.add_logger_name,
                structlog.processors.TimeStamper(fmt="iso", utc=True),
                structlog.processors.format_exc_info,
            ],
        }
    },
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "lines"}},
    "root": {"handlers": ["stderr"], "level": ENV.qm_log_level},
    "loggers": {"httpx": {"level": "WARNING"}},  # it tells every request of the observer
}
# Without this, structlog prints past the handlers, and the worker takes its lines for warnings.
structlog.configure(
    processors=[
        structlog.stdlib.filter_by_level,
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
    ],
    logger_factory=structlog.stdlib.LoggerFactory(),
    wrapper_class=structlog.stdlib.BoundLogger,
    cache_logger_on_first_use=True,
)
