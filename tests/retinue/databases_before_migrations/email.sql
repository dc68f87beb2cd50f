BEGIN TRANSACTION;
CREATE TABLE ledger (
	"key" VARCHAR(500) NOT NULL, 
	tool VARCHAR(100) NOT NULL, 
	args_hash VARCHAR(64) NOT NULL, 
	result TEXT NOT NULL, 
	recorded_at DATETIME NOT NULL, 
	PRIMARY KEY ("key")
);
INSERT INTO "ledger" VALUES('a-1/s1','email.send','acf1dfc399cc4f1895082dd9062098d19427be2869a054d6ad3197670f45efa7','{"message_id":"<d9d58593891444f157ef2e9ca0548654f339b17d@retinue.example>","status":"sent","delivery":"own-store","to":["ana@example.com"],"subject":"Lunch"}','2026-11-22 19:10:07.937423');
CREATE TABLE messages (
	message_id VARCHAR(500) NOT NULL, 
	folder VARCHAR(20) NOT NULL, 
	sender VARCHAR NOT NULL, 
	sender_name VARCHAR NOT NULL, 
	recipients JSON NOT NULL, 
	cc JSON NOT NULL, 
	subject VARCHAR NOT NULL, 
	date DATETIME NOT NULL, 
	text VARCHAR NOT NULL, 
	unread BOOLEAN NOT NULL, 
	attachments JSON NOT NULL, 
	in_reply_to VARCHAR(500), 
	haystack VARCHAR NOT NULL, 
	PRIMARY KEY (message_id)
);
INSERT INTO "messages" VALUES('<d9d58593891444f157ef2e9ca0548654f339b17d@retinue.example>','sent','me@retinue.example','','["ana@example.com"]','[]','Lunch','2026-11-22 19:10:07.931494','Friday at one?',0,'[]',NULL,' me@retinue.example
lunch
friday at one?');
CREATE INDEX messages_folder_date ON messages (folder, date);
COMMIT;
