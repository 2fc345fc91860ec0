//! The part of the worker's environment that programs of a mapping get.
//!
//! An allow-list without Redcall's own secrets: neither a variable that sets one (`REDIS_URL`,
//! `REDCALL_…`) nor another that contains one, such as a variable of a Compose file. No allow-list
//! hides data that a program of the same user can read elsewhere, such as `/proc/PID/environ` of
//! the worker: keep secrets in files.

use std::ffi::OsString;

use redcall_common::settings::{ProgramEnv, Settings};

/// The environment of this process, without the variables that no program gets.
pub(crate) struct Environment {
    variables: Vec<(OsString, OsString)>,
    /// Names of variables that hold a secret.
    secret: Vec<String>,
}

impl Environment {
    /// Returns that of this process. `settings` name the secrets.
    pub(crate) fn of(settings: &Settings) -> Self {
        Self::split(std::env::vars_os(), &secrets(settings))
    }

    fn split(all: impl Iterator<Item = (OsString, OsString)>, secrets: &[String]) -> Self {
        let holds_one = |value: &OsString| {
            let value = value.to_string_lossy();
            secrets.iter().any(|secret| value.contains(secret))
        };
        let (secret, variables): (Vec<_>, Vec<_>) = all.partition(|(_, value)| holds_one(value));
        let secret = secret.into_iter().map(|(name, _)| name.to_string_lossy().into_owned());
        Self { variables, secret: secret.collect() }
    }

    /// Returns the variables that `env` admits.
    ///
    /// # Errors
    ///
    /// If `env` names a variable that holds a secret.
    pub(crate) fn admitted(&self, env: &ProgramEnv) -> Result<Vec<(OsString, OsString)>, String> {
        if let Some(name) = self.secret.iter().find(|name| env.names_itself(name)) {
            return Err(format!(
                "`env` names `{name}`, which holds the password of Redis or a signing secret; no \
                 program gets those: remove it"
            ));
        }
        // A name that is not Unicode cannot be listed.
        let admits = |name: &OsString| name.to_str().is_some_and(|name| env.admits(name));
        let admitted = self.variables.iter().filter(|(name, _)| admits(name));
        Ok(admitted.cloned().collect())
    }
}

/// Returns the secret values; each is long enough not to occur by chance.
fn secrets(settings: &Settings) -> Vec<String> {
    let url = &settings.redis.url;
    // A URL without a password is not a secret.
    let url = (settings.redis.redacted_url() != *url).then(|| url.clone());
    let keys = settings.auth.iter().flat_map(|auth| auth.keys.values());
    url.into_iter().chain(keys.map(|key| key.secret.reveal().to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(secrets: &[&str]) -> Environment {
        let all = [("PATH", "/bin"), ("MINE", "1"), ("COPY", "is s3cret-s3cret here")];
        let all = all.map(|(name, value)| (name.into(), value.into()));
        let secrets: Vec<String> = secrets.iter().map(ToString::to_string).collect();
        Environment::split(all.into_iter(), &secrets)
    }

    fn names(environment: &Environment, env: &ProgramEnv) -> Result<String, String> {
        let admitted = environment.admitted(env)?;
        let names = admitted.into_iter().map(|(name, _)| name.into_string().unwrap());
        Ok(names.collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn secret_variable_reaches_no_program() {
        let environment = environment(&["s3cret-s3cret"]);
        let all = ProgramEnv { inherit: true, names: Vec::new() };
        assert_eq!(names(&environment, &all).unwrap(), "PATH MINE");
        let pattern = ProgramEnv { names: vec!["C*".to_owned()], ..ProgramEnv::default() };
        assert_eq!(names(&environment, &pattern).unwrap(), "PATH");
        let named = ProgramEnv { names: vec!["COPY".to_owned()], inherit: true };
        assert!(names(&environment, &named).unwrap_err().contains("`COPY`"));
    }

    #[test]
    fn only_an_address_with_a_password_is_a_secret() {
        let mut settings = Settings::default();
        assert!(secrets(&settings).is_empty());
        settings.redis.url = "redis://:pw@host".to_owned();
        assert_eq!(secrets(&settings), ["redis://:pw@host"]);
    }
}
