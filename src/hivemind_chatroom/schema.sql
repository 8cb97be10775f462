-- The lines of the rooms, schema version 1 (PRAGMA user_version); PRAGMA application_id says whose file it is.
CREATE TABLE messages (
    id       INTEGER PRIMARY KEY, -- the number the chatroom gave the line; later lines have larger ones
    room     TEXT NOT NULL,
    document TEXT NOT NULL        -- JSON of the whole line, whom it belongs to included
);
CREATE INDEX messages_of_room ON messages (room, id);
