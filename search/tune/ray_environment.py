"""Set the environment variables with which Ray is started."""

import os
import secrets

SETTINGS = {
    # The run directory is the record of a search: Tune's tables, loggers and snapshots are switched off.
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    # Failures are lines of the search. Ray would print some of them again, as tracebacks.
    "RAY_IGNORE_UNHANDLED_ERRORS": "1",
    # Otherwise Tune itself trains trials of preempted nodes again, and does not notify the searcher.
    "RAY_TRAIN_COUNT_PREEMPTION_AS_FAILURE": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000",
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    # By default Ray gives workers a niceness of 15: beside other work a trial would get a thirtieth of a core.
    "RAY_worker_niceness": "0",
}


def set_ray_environment(address: str | None) -> None:
    """Set the variables. Call it before anything imports Ray, which reads some of them during its import.

    Args:
        address: the address of a cluster to join; None to start Ray on this machine.
    """
    os.environ |= SETTINGS
    if address:
        # One attempt takes 40 s; by default Ray makes twenty.
        os.environ.setdefault("RAY_gcs_server_port_wait_time_s", "1")
    else:
        # By default Ray's own server has 20 to 30 s for its start, too little on a busy machine.
        os.environ.setdefault("RAY_gcs_server_port_wait_time_s", "120")
        # Ray then opens all of its sockets on the loopback interface.
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
        # Without a token in the environment, Ray would write one to ~/.ray/auth_token, where every user can read it.
        os.environ["RAY_AUTH_MODE"] = "token"
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
