//! A time daemon is trusted in the cgroup of its service, for root's requests and its own, and in no
//! cgroup that a user has a hand in.

use anyhow::{Result, ensure};
use ntpguard_tests::cgroup::Cgroup;

use super::scene::{Scene, USER, says};

#[test]
fn what_is_below_a_service_is_trusted_from_its_first_request_on() -> Result<()> {
    let scene = Scene::new()?;
    let service = Cgroup::service()?;
    service.make()?;
    let _chronyd = scene.chronyd(&service)?;
    let sender = scene.wait_trusted(&service)?;
    ensure!(sender["uids"] == serde_json::json!([0]), "{sender}");
    // Nobody could have found these in the time between.
    for name in ["main", "another", "third"] {
        let below = service.below(name);
        below.make()?;
        let deeper = below.below("deeper");
        deeper.make()?;
        ensure!(scene.is_answered(&deeper, 0)?, "{name}/deeper");
        ensure!(scene.is_answered(&below, 0)?, "{name}");
    }
    Ok(())
}

#[test]
fn a_daemon_below_its_service_has_the_service_trusted() -> Result<()> {
    let scene = Scene::new()?;
    let service = Cgroup::service()?;
    let main = service.below("main");
    main.make()?;
    let _chronyd = scene.chronyd(&main)?;
    scene.wait_trusted(&service)?;
    ensure!(scene.is_answered(&service, 0)?);
    ensure!(scene.is_answered(&main, 0)?);
    Ok(())
}

#[test]
fn a_service_in_a_slice_of_its_own_is_trusted() -> Result<()> {
    let scene = Scene::new()?;
    let service = Cgroup::unique_in("system.slice/system-ngtest.slice", ".service")?;
    service.make()?;
    let _chronyd = scene.chronyd(&service)?;
    scene.wait_trusted(&service)?;
    ensure!(scene.is_answered(&service, 0)?);
    Ok(())
}

/// As cron, which runs root's `chronyd -q` and the jobs of users in one cgroup.
#[test]
fn a_users_job_in_the_same_service_is_not_trusted() -> Result<()> {
    let scene = Scene::new()?;
    let service = Cgroup::service()?;
    service.make()?;
    let _chronyd = scene.chronyd(&service)?;
    scene.wait_trusted(&service)?;
    let job = service.below("job");
    job.make()?;
    for cgroup in [&service, &job] {
        ensure!(!scene.is_answered(cgroup, USER)?, "{cgroup:?}");
        ensure!(scene.is_answered(cgroup, 0)?, "{cgroup:?}");
    }
    Ok(())
}

#[test]
fn a_service_that_a_user_has_a_hand_in_is_never_trusted() -> Result<()> {
    let scene = Scene::new()?;
    let service = Cgroup::service()?;
    service.make()?;
    service.delegate(USER)?;
    let untrusted = scene.is_refused(&service)?;
    says(&untrusted, "why", "belongs to uid 1500")?;
    says(&untrusted, "cure", "--trust /")
}

#[test]
fn the_session_of_a_user_is_never_trusted() -> Result<()> {
    let scene = Scene::new()?;
    let manager = "user.slice/user-1500.slice/user@1500.service/app.slice";
    let service = Cgroup::unique_in(manager, ".service")?;
    service.make()?;
    let untrusted = scene.is_refused(&service)?;
    says(&untrusted, "why", "not that of a service")?;
    // Nor when it belongs to the user, as it does where systemd made it.
    service.delegate(USER)?;
    scene.is_refused(&service)?;
    Ok(())
}

#[test]
fn a_scope_is_never_trusted() -> Result<()> {
    let scene = Scene::new()?;
    for above in ["system.slice", "user.slice/user-1500.slice", ""] {
        let scope = Cgroup::unique_in(above, ".scope")?;
        scope.make()?;
        let untrusted = scene.is_refused(&scope)?;
        says(&untrusted, "why", "not that of a service")?;
    }
    Ok(())
}

#[test]
fn a_daemon_in_the_root_cgroup_is_said_to_need_one_of_its_own() -> Result<()> {
    let scene = Scene::new()?;
    let chronyd = scene.chronyd_at_root()?;
    let untrusted = scene.wait_untrusted(&chronyd)?;
    says(&untrusted, "why", "root cgroup")?;
    says(&untrusted, "cure", "ntpguard exec -- ")?;
    let status = scene.status()?;
    ensure!(status.contains("untrusted chronyd"), "{status}");
    ensure!(status.lines().all(|line| line.len() <= 80), "{status}");
    Ok(())
}

#[test]
fn a_well_known_service_is_trusted_before_its_daemon_runs() -> Result<()> {
    let scene = Scene::new()?;
    // Known, and seldom: OpenNTPD of ALT Linux under OpenRC.
    let service = Cgroup::named("", "openrc.openntpd-server")?;
    service.make()?;
    scene.wait_trusted(&service)?;
    ensure!(scene.is_answered(&service, 0)?);
    ensure!(!scene.is_answered(&service, USER)?);
    Ok(())
}

#[test]
fn a_named_cgroup_is_trusted_whatever_the_uid() -> Result<()> {
    let named = Cgroup::new()?;
    let scene = Scene::trusting(&["--trust".as_ref(), named.path().as_os_str()])?;
    let below = named.below("below");
    below.make()?;
    for cgroup in [&named, &below] {
        ensure!(scene.is_answered(cgroup, USER)?, "{cgroup:?}");
    }
    let outside = Cgroup::new()?;
    ensure!(!scene.is_answered(&outside, 0)?);
    Ok(())
}
