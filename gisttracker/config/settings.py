"""Django settings, derived from the variables of gisttracker.config.environment."""

import os
from datetime import timedelta
from pathlib import Path
from typing import Any

from corsheaders.defaults import default_headers
from django.db.backends.signals import connection_created
from django.utils.crypto import get_random_string

from gisttracker import __version__
from gisttracker.common import database
from gisttracker.config import environment, logs

BASE_DIR = Path(__file__).resolve().parent.parent.parent
ENV = environment.read(BASE_DIR / ".env")

# --- the sync ---
PIPEDRIVE_TOKEN: str = ENV["PIPEDRIVE_TOKEN"]
PIPEDRIVE_API_URL: str = ENV["PIPEDRIVE_API_URL"]
PIPEDRIVE_ACTIVITY_TYPE: str = ENV["PIPEDRIVE_ACTIVITY_TYPE"]
PIPEDRIVE_ACTIVITY_DONE: bool = ENV["PIPEDRIVE_ACTIVITY_DONE"]
PIPEDRIVE_DAILY_ACTIVITIES: int = ENV["PIPEDRIVE_DAILY_ACTIVITIES"]
PIPEDRIVE_ACTIVITY_OWNER: str = ENV["PIPEDRIVE_ACTIVITY_OWNER"]
PIPEDRIVE_GITHUB_FIELD: str = ENV["PIPEDRIVE_GITHUB_FIELD"]
PUSH_EDITS: bool = ENV["PUSH_EDITS"]
# From the moment at which a run writes that it will send a POST until the last one at which it may be sent.
SEND_SECONDS = 60
SETTLE_SECONDS = 120  # after that moment, for which Pipedrive's lists are not believed about the POST
GITHUB_TOKEN: str = ENV["GITHUB_TOKEN"]
GITHUB_API_URL: str = ENV["GITHUB_API_URL"]
GITHUB_REQUESTS_PER_MINUTE: int = ENV["GITHUB_REQUESTS_PER_MINUTE"]
GITHUB_STREAM: bool = ENV["GITHUB_STREAM"]
BACKFILL: str = ENV["BACKFILL"]
LEASE_SECONDS = 120  # after which a silent run is taken over; see sync.run.lease
SYNC_INTERVAL = timedelta(minutes=ENV["SYNC_INTERVAL_MINUTES"])
PING_URL: str = ENV["PING_URL"]
NOTIFY_URL: str = ENV["NOTIFY_URL"]
ENVIRONMENT_NAME: str = ENV["ENVIRONMENT_NAME"]

# --- the web service ---
DEBUG: bool = ENV["DEBUG"]
# A generated key is enough for commands. With it, sessions would end with the process, so checks.py rejects it unless
# DEBUG or ALLOW_INSECURE is on. Processes that this one starts inherit it: gunicorn's workers, which are forked later,
# and those in which runserver reloads the code.
SECRET_KEY_IS_GENERATED = not ENV["SECRET_KEY"]
SECRET_KEY: str = ENV["SECRET_KEY"] or os.environ.setdefault(environment.GENERATED_KEY, get_random_string(64))
ALLOWED_HOSTS: list[str] = ENV["ALLOWED_HOSTS"]
# A proxy that ends TLS may not say so; what a browser sends as Origin is then one of these.
CSRF_TRUSTED_ORIGINS = [f"https://{'*' if host.startswith('.') else ''}{host}" for host in ALLOWED_HOSTS if host != "*"]
ROOT_URLCONF = "gisttracker.web.urls"
WSGI_APPLICATION = "gisttracker.web.wsgi.application"
INSTALLED_APPS = [
    "gisttracker",  # before the admin, whose templates it overrides
    "django.contrib.auth",
    "gisttracker.apps.DeskConfig",  # after auth, which creates the permissions that DeskConfig gives to viewers
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "axes",
    "corsheaders",
    "csp",
    "django_filters",
    "rest_framework",
    "rest_framework_api_key",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "people",
    "sync",
]
MIDDLEWARE = [
    # First, so that probes need neither an allowed Host header nor a session.
    "gisttracker.web.probes.HealthMiddleware",
    "gisttracker.web.middleware.RequestIdMiddleware",
    # Before all that may reject a request, so that a page of an allowed origin can read why.
    "corsheaders.middleware.CorsMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "csp.middleware.CSPMiddleware",
    "gisttracker.web.middleware.ConditionalMiddleware",  # ETag and 304
    "gisttracker.web.middleware.BodyLimitMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "axes.middleware.AxesMiddleware",
    "gisttracker.desk.logins.TooManyLoginsMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "gisttracker.web.context_processors.frame",
            ]
        },
    }
]
STATIC_URL = "/static/"
STATIC_ROOT = BASE_DIR / "static-collected"
# Without collectstatic, static files are served directly from the packages.
WHITENOISE_USE_FINDERS = WHITENOISE_AUTOREFRESH = not STATIC_ROOT.is_dir()
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("UserAttributeSimilarityValidator", "MinimumLengthValidator", "CommonPasswordValidator")
]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
TIME_ZONE = "UTC"
USE_I18N = False


# --- security ---
API_REQUESTS_PER_MINUTE: int = ENV["API_REQUESTS_PER_MINUTE"]
ANONYMOUS_REQUESTS_PER_MINUTE: int = ENV["ANONYMOUS_REQUESTS_PER_MINUTE"]
API_AUTH: str = ENV["API_AUTH"] or ("none" if DEBUG else "key")
METRICS_PUBLIC: bool = ENV["METRICS_PUBLIC"]
ALLOW_INSECURE: bool = ENV["ALLOW_INSECURE"]
MAX_BODY_BYTES = DATA_UPLOAD_MAX_MEMORY_SIZE = 5 * 1024 * 1024
REQUIRE_HTTPS: bool = ENV["REQUIRE_HTTPS"] and not DEBUG
SECURE_SSL_REDIRECT = SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = REQUIRE_HTTPS
SECURE_REDIRECT_EXEMPT = [r"^metrics$"]  # Prometheus scrapes inside the cluster, by plain HTTP.
SECURE_HSTS_SECONDS = 365 * 24 * 3600 if REQUIRE_HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = REQUIRE_HTTPS
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if ENV["TRUSTED_PROXY_COUNT"] else None
CSRF_FAILURE_VIEW = "gisttracker.web.errors.csrf_failure"
CORS_ALLOWED_ORIGINS: list[str] = ENV["CORS_ALLOWED_ORIGINS"] or []
CORS_URLS_REGEX = r"^/api/"
CORS_ALLOW_HEADERS = [*default_headers, "if-match", "if-none-match", "x-request-id"]
CORS_EXPOSE_HEADERS = [
    "ETag",
    "Link",
    "Location",
    "RateLimit",
    "RateLimit-Policy",
    "Retry-After",
    "WWW-Authenticate",
    "X-Request-ID",
]
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'none'"],
        "script-src": ["'self'"],
        "style-src": ["'self'", "'unsafe-inline'"],  # Swagger UI sets styles on its elements.
        "img-src": ["'self'", "data:"],
        "font-src": ["'self'"],
        "connect-src": ["'self'"],
        "form-action": ["'self'"],
        "base-uri": ["'none'"],
        "frame-ancestors": ["'none'"],
    }
}
AUTHENTICATION_BACKENDS = ["axes.backends.AxesStandaloneBackend", "django.contrib.auth.backends.ModelBackend"]
AXES_HANDLER = "gisttracker.desk.login_limits.LoginHandler"  # has the limit of an address over all names
AXES_FAILURE_LIMIT = 10  # of one name from one address
AXES_COOLOFF_TIME = timedelta(minutes=15)
AXES_RESET_COOL_OFF_ON_FAILURE_DURING_LOCKOUT = False  # so that a lock ends at the time that its page shows
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"], "ip_address"]  # in this order for the handler
AXES_LOCKOUT_CALLABLE = "gisttracker.desk.logins.respond_locked"
AXES_VERBOSE = False
AXES_CLIENT_IP_CALLABLE = "gisttracker.web.client_address.get_limited_address"
TRUSTED_PROXY_COUNT: int = ENV["TRUSTED_PROXY_COUNT"]


# --- the database ---
def mysql() -> dict[str, Any]:
    """MySQL 8.4 or MariaDB 10.11: full Unicode, strict mode (errors instead of truncated values), all times in UTC."""
    return {
        "ENGINE": "django.db.backends.mysql",
        "HOST": ENV["DATABASE_HOST"],
        "PORT": ENV["DATABASE_PORT"],
        "NAME": ENV["DATABASE_NAME"],
        "USER": ENV["DATABASE_USERNAME"],
        "PASSWORD": ENV["DATABASE_PASSWORD"],
        "CONN_MAX_AGE": 60,
        "CONN_HEALTH_CHECKS": True,
        "OPTIONS": {
            "charset": "utf8mb4",
            "connect_timeout": 5,
            **({"ssl_mode": "REQUIRED"} if ENV["DATABASE_TLS"] else {}),
            "isolation_level": "read committed",
            "init_command": (
                "SET sql_mode = 'STRICT_TRANS_TABLES', time_zone = '+00:00', "
                "innodb_lock_wait_timeout = 5"  # seconds; no transaction of ours takes as long
            ),
        },
        "TEST": {"CHARSET": "utf8mb4"},
    }


def sqlite() -> dict[str, Any]:
    """One file. With WAL, readers do not wait for the writer; with IMMEDIATE and the timeout, writers queue."""
    return {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": BASE_DIR / ENV["SQLITE_PATH"],
        "OPTIONS": {
            "timeout": 30,
            "transaction_mode": "IMMEDIATE",
            "init_command": "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;",
        },
    }


if ENV["DATABASE_HOST"] and ENV["DATABASE_TLS"]:
    connection_created.connect(database.require_encryption)
DATABASES = {"default": mysql() if ENV["DATABASE_HOST"] else sqlite()}

# --- the REST API ---
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "people.api.authentication.ApiKeyAuthentication",
        "people.api.authentication.StaffSessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["people.api.permissions.HasApiAccess"],
    "DEFAULT_THROTTLE_CLASSES": ["people.api.throttling.MinuteThrottle"],
    "URL_FORMAT_OVERRIDE": None,  # because `format` is a query parameter of ours
    "DEFAULT_PARSER_CLASSES": [
        "people.api.parsers.JsonParser",
        "rest_framework.parsers.FormParser",
        "rest_framework.parsers.MultiPartParser",
    ],
    "DEFAULT_RENDERER_CLASSES": ["people.api.renderers.JsonRenderer"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "drf_standardized_errors.handler.exception_handler",
}
DRF_STANDARDIZED_ERRORS = {
    "EXCEPTION_HANDLER_CLASS": "people.api.errors.ApiExceptionHandler",
    "EXCEPTION_FORMATTER_CLASS": "people.api.errors.ApiExceptionFormatter",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "gisttracker",
    "DESCRIPTION": (
        "Tracks GitHub users (people) and turns each of their public gists into one Pipedrive activity. "
        "A visit to a person shows the gists that were stored since your last visit."
    ),
    "VERSION": __version__,
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "OAS_VERSION": "3.1.1",
    "SERVE_INCLUDE_SCHEMA": False,
    "COMPONENT_SPLIT_REQUEST": True,
    "COMPONENT_SPLIT_PATCH": False,
    "SERVE_AUTHENTICATION": [],
    "SERVE_PERMISSIONS": [],
    "PREPROCESSING_HOOKS": ["people.api.openapi.normalize_paths"],
    "POSTPROCESSING_HOOKS": ["drf_spectacular.hooks.postprocess_schema_enums", "people.api.openapi.complete"],
    "ENUM_GENERATE_CHOICE_DESCRIPTION": False,
    "SERVERS": [{"url": "/", "description": "the service that serves this document"}],
    "CONTACT": {"name": "the operators of this service"},
    "LICENSE": {"name": "MIT", "identifier": "MIT"},
    "TAGS": [
        {"name": "consumer", "description": "Who you are to this service."},
        {"name": "feed", "description": "The new gists of all people, with a marker of your own."},
        {"name": "gists", "description": "The gists of a person, and the attempts to push them to Pipedrive."},
        {"name": "people", "description": "Who is tracked; a visit shows a person's new gists."},
        {"name": "sync", "description": "The state of the sync, and its runs."},
    ],
    "ENUM_NAME_OVERRIDES": {},  # api/schema.py of each app adds its own
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "SWAGGER_UI_SETTINGS": {"deepLinking": True},
}

# --- logs ---
logs.register_secrets([SECRET_KEY])
logs.register_secrets(
    ENV[variable.name]
    for variable in environment.VARIABLES
    if variable.secret and ENV[variable.name] != variable.default
)
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "text": {"()": "gisttracker.config.logs.TextFormatter"},
        "json": {"()": "gisttracker.config.logs.JsonFormatter"},
    },
    "handlers": {
        "stderr": {"class": "logging.StreamHandler", "formatter": ENV["LOG_FORMAT"]},
        "null": {"class": "logging.NullHandler"},
    },
    "root": {"handlers": ["stderr"], "level": "INFO"},
    "loggers": {
        "django": {"handlers": [], "propagate": True},
        "axes": {"handlers": [], "level": "ERROR", "propagate": True},  # login_limits.py logs logins.
        # Requests with a wrong Host header are rejected with 400; scanners must not fill the log with tracebacks.
        "django.security.DisallowedHost": {"handlers": ["null"], "propagate": False},
    },
}
