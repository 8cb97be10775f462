-- From schema version 1 to 2: the lists of barred skills and intents move from columns of their own into `metadata`,
-- which wins where it has them already. The list of barred messages has no meaning any more.
-- Done twice, it changes nothing.

-- Metadata that is no JSON object reads as an empty one; it is replaced only where something has to go in.
UPDATE clients SET metadata = '{}'
 WHERE (skill_blacklist IS NOT NULL OR intent_blacklist IS NOT NULL)
   AND CASE WHEN json_valid(metadata) THEN json_type(metadata) <> 'object' ELSE 1 END;

UPDATE clients SET metadata = json_insert(metadata, '$.skill_blacklist', json(skill_blacklist))
 WHERE CASE WHEN json_valid(skill_blacklist)
            THEN json_type(skill_blacklist) = 'array' AND json_array_length(skill_blacklist) > 0 ELSE 0 END;

UPDATE clients SET metadata = json_insert(metadata, '$.intent_blacklist', json(intent_blacklist))
 WHERE CASE WHEN json_valid(intent_blacklist)
            THEN json_type(intent_blacklist) = 'array' AND json_array_length(intent_blacklist) > 0 ELSE 0 END;

UPDATE clients SET metadata = json_remove(metadata, '$.message_blacklist')
 WHERE CASE WHEN json_valid(metadata) THEN json_type(metadata, '$.message_blacklist') IS NOT NULL ELSE 0 END;

UPDATE clients SET skill_blacklist = NULL, intent_blacklist = NULL, message_blacklist = NULL;
