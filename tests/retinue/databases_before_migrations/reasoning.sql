BEGIN TRANSACTION;
CREATE TABLE transcripts (
	"key" VARCHAR(300) NOT NULL, 
	position INTEGER NOT NULL, 
	message TEXT NOT NULL, 
	PRIMARY KEY ("key", position)
);
INSERT INTO "transcripts" VALUES('chat',0,'{"role": "user", "content": "Grüß dich"}');
COMMIT;
