-- Client records, schema version 2 (PRAGMA user_version), as released hubs create and read them.
CREATE TABLE IF NOT EXISTS clients (
    client_id         INTEGER PRIMARY KEY,   -- never used again: a deleted client leaves a tombstone
    api_key           VARCHAR(255) NOT NULL, -- the access key; 'revoked' in a tombstone
    name              VARCHAR(255),
    description       VARCHAR(255),
    is_admin          BOOLEAN DEFAULT FALSE,
    last_seen         REAL DEFAULT -1,       -- unix time, seconds
    intent_blacklist  TEXT,                  -- version 1 only; NULL since version 2
    skill_blacklist   TEXT,                  -- version 1 only
    message_blacklist TEXT,                  -- version 1 only
    allowed_types     TEXT,                  -- JSON array of bus message types
    password          TEXT,
    can_broadcast     BOOLEAN DEFAULT TRUE,
    can_escalate      BOOLEAN DEFAULT TRUE,
    can_propagate     BOOLEAN DEFAULT TRUE,
    metadata          TEXT                   -- JSON object
);
CREATE INDEX IF NOT EXISTS idx_clients_api_key ON clients (api_key);
