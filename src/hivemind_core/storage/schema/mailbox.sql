-- Messages that wait for clients who are not here (docs/protocol.md 15), schema version 1 (PRAGMA user_version).
-- Boxes and senders are SHA-256 of access keys, in hex: no key is stored.
CREATE TABLE deposits (
    number     INTEGER PRIMARY KEY AUTOINCREMENT, -- in the order they came
    deposit_id TEXT NOT NULL,                     -- what the recipient acknowledges
    box        TEXT NOT NULL,                     -- the recipient
    sender     TEXT NOT NULL,                     -- '' where a released hub kept it and did not note who it was
    payload    TEXT NOT NULL,                     -- JSON of an INTERCOM, as it was given
    size       INTEGER NOT NULL,                  -- bytes of the payload
    expires_at REAL NOT NULL                      -- unix time, seconds
);
CREATE INDEX deposits_of_box ON deposits (box, number);
CREATE INDEX deposits_of_sender ON deposits (sender, size);
CREATE INDEX deposits_by_end ON deposits (expires_at);

-- What waits in each box, so that the totals need not be counted message by message.
CREATE TABLE boxes (
    box     TEXT PRIMARY KEY,
    pending INTEGER NOT NULL,
    bytes   INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TRIGGER deposit_comes AFTER INSERT ON deposits BEGIN
    INSERT INTO boxes VALUES (NEW.box, 1, NEW.size)
        ON CONFLICT (box) DO UPDATE SET pending = pending + 1, bytes = bytes + NEW.size;
END;

CREATE TRIGGER deposit_goes AFTER DELETE ON deposits BEGIN
    UPDATE boxes SET pending = pending - 1, bytes = bytes - OLD.size WHERE box = OLD.box;
    DELETE FROM boxes WHERE box = OLD.box AND pending = 0;
END;

-- Files of released hubs that were taken over; each is, once.
CREATE TABLE imported (
    source TEXT PRIMARY KEY,
    added  INTEGER NOT NULL
) WITHOUT ROWID;
